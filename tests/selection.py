"""What a test needs, by the fixtures it uses: the choice of ``--quick``, and the order of the files.

A pytest plugin, loaded by ``conftest.py``. Costs are rough seconds of a test on one core.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest

NEEDS = {
    "chromium": "a browser",
    "jupyter_server": "Jupyter",
    "jupyterhub": "Jupyter",
    "kernel": "a kernel",
    "nats_server": "a NATS server",
}
"""The fixtures that start what is slow, and what that is."""
COSTS = {"a browser": 4.0, "Jupyter": 4.0, "a kernel": 2.0, "a NATS server": 0.5}
BASE_COST = 0.1
LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out what needs a browser, a kernel, Jupyter or NATS, what is slow, and what measures time",
    )
    parser.addoption(
        "--versions",
        action="store_true",
        help="with --quick: run what is slow if it is marked as one that depends on the versions of packages",
    )


def need(item: pytest.Item) -> str | None:
    """The most expensive of the things that ``item`` needs; None for a quick test."""
    assert isinstance(item, pytest.Function)
    found = {NEEDS[name] for name in item.fixturenames if name in NEEDS}
    if hasattr(item, "callspec") and "nats" in item.callspec.params.values():  # a log in NATS, started on demand
        found.add("a NATS server")
    return max(found, key=lambda what: COSTS[what], default=None)


def reason(item: pytest.Item) -> str | None:
    """Why ``--quick`` leaves ``item`` out; None: it does not."""
    if item.get_closest_marker("alone"):
        return "measure time"
    if what := need(item):
        return f"need {what}"
    slow = item.get_closest_marker("slow")
    is_run = slow is None or (item.config.option.versions and slow.kwargs.get("versions"))
    return None if is_run else "are slow"


def cost(item: pytest.Item) -> float:
    """Rough seconds: of what it needs, and some for a test that may take longer than others."""
    timeout = item.get_closest_marker("timeout")
    return BASE_COST + COSTS.get(need(item) or "", 0.0) + (timeout.args[0] / 60 if timeout else 0.0)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the files, the one that takes longest first, so that no worker is left with a long one at the end."""
    if config.option.quick:
        reasons = [reason(item) for item in items]
        config.hook.pytest_deselected(items=[item for item, why in zip(items, reasons, strict=True) if why])
        config.stash[LEFT_OUT].update(filter(None, reasons))
        items[:] = [item for item, why in zip(items, reasons, strict=True) if not why]
    costs: dict[Any, float] = defaultdict(float)
    for item in items:
        costs[item.path] += cost(item)
    items.sort(key=lambda item: -costs[item.path])
    if hasattr(config, "workeroutput"):  # a process of pytest-xdist
        config.workeroutput["left_out"] = dict(config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every process has left out the same tests."""
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.option.quick:
        counts = ", ".join(f"{count} that {why}" for why, count in config.stash[LEFT_OUT].most_common())
        terminalreporter.write_line(f"--quick left out tests: {counts or 'none'}; `python3 tests` runs everything")
