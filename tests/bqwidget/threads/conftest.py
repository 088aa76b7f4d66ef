"""One real kernel for the tests of a module that do not change it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bqserver.testing import RunningServer
from support.kernels import Kernel, kernel


@pytest.fixture(scope="module")
def shared_kernel(room_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    home = str(tmp_path_factory.mktemp("home"))
    environ = {**os.environ, "HOME": home, "IPYTHONDIR": home, "BQWIDGET_URL": room_server.url}
    with kernel({**environ, "BQWIDGET_TOKEN": room_server.token}) as running:
        yield running
