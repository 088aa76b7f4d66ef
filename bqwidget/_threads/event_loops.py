"""Event loops: the main thread's loop, running one loop inside another, and closing one."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .cells import ipython_shell


def main_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that IPython's main thread runs between cells, or None."""
    shell = ipython_shell()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return _terminal_loop(shell)
    loop: asyncio.AbstractEventLoop | None = getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)
    return loop


def _terminal_loop(shell: Any) -> asyncio.AbstractEventLoop | None:
    """In IPython's terminal: the loop that runs awaiting cells and, with ``%gui asyncio``, the prompt.

    Enables ``%gui asyncio``, so that callbacks run while the prompt waits. None if another gui is active, if the
    prompt does not support it (``--simple-prompt``), or if the shell is embedded in a program with its own loop.
    """
    embedded = getattr(sys.modules.get("IPython.terminal.embed"), "InteractiveShellEmbed", ())
    if getattr(shell, "pt_app", None) is None or isinstance(shell, embedded):
        return None
    if threading.current_thread() is not threading.main_thread():
        return None
    if shell.active_eventloop is None:
        shell.enable_gui("asyncio")
    if shell.active_eventloop != "asyncio":
        return None
    from IPython.core.async_helpers import get_asyncio_loop  # noqa: PLC0415 - a script needs no IPython

    loop: asyncio.AbstractEventLoop = get_asyncio_loop()  # type: ignore[no-untyped-call]  # IPython has no annotations
    return loop


@contextlib.contextmanager
def without_running_loop() -> Iterator[None]:
    """Hide the running loop and task of this thread, so that another loop can run inside.

    asyncio forbids nested loops because the outer loop is blocked meanwhile. Here that is intended: a cell that
    blocks does the same. The functions are those that asyncio offers to implementations of event loops.
    """
    loop = asyncio._get_running_loop()  # noqa: SLF001
    task = asyncio.current_task(loop) if loop is not None else None
    if loop is not None and task is not None:
        asyncio.tasks._leave_task(loop, task)  # noqa: SLF001
    asyncio._set_running_loop(None)  # noqa: SLF001
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001
        if loop is not None and task is not None:
            asyncio.tasks._enter_task(loop, task)  # noqa: SLF001


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks of ``loop``, which must not be running, and close it."""

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    try:
        loop.run_until_complete(end())
    finally:
        loop.close()
