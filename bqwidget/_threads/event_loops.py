"""Event loops: the one that the main thread gives to callbacks, one inside another, and the clean end of one."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any


def main_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that IPython's main thread runs between two cells, if this is IPython and it has one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    kernel = getattr(shell, "kernel", None)
    return _terminal_loop(shell) if kernel is None else _kernel_loop(kernel)


def _kernel_loop(kernel: Any) -> asyncio.AbstractEventLoop | None:
    """An ipykernel's main loop, whatever thread this is."""
    loop: asyncio.AbstractEventLoop | None = getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)
    return loop


def _terminal_loop(shell: Any) -> asyncio.AbstractEventLoop | None:
    """In IPython's terminal the loop of what cells await, with ``%gui asyncio`` that of the prompt too.

    That is switched on here, so that callbacks run while the prompt waits: unless another gui was chosen, or
    there is no such prompt (``--simple-prompt``), or the shell is embedded in a program that may have a loop.
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
    """Hide the running loop and task of this thread, so that another loop may run inside.

    asyncio forbids nesting because the outer loop stands still meanwhile: here that is wanted, for that
    is what a cell that blocks does. The functions are those that asyncio gives to makers of event loops.
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
    """End ``loop``, which isn't running, and all that still hangs on it."""

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
