"""What a run says while it goes on: each failure at once, and the end of the run when one of its processes crashes.

A pytest plugin, loaded by ``conftest.py``. pytest names the failures at its end, which a run that is cut off does not
reach; and after a crash pytest-xdist starts the same file again in another process, or waits without end.
"""

from __future__ import annotations

import pytest

CRASHED = "???"
"""``report.when`` of pytest-xdist's report of a process that crashed."""


class Progress:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)  # after the terminal and the JUnit file have counted it
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.failed:
            return
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message.splitlines()[0] if crash else report.longreprtext.strip().splitlines()[-1]
        terminal.write_line(f"\nFAILED {report.nodeid}: {message}", red=True)
        if report.when == CRASHED:
            pytest.exit(message, returncode=pytest.ExitCode.TESTS_FAILED)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # not in a process of pytest-xdist
        config.pluginmanager.register(Progress(config))
