"""The folder for histories, tokens and rights."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path


def data_dir() -> Path:
    """``BQWIDGET_DATA_DIR``, else the platform's data folder of this user. It need not exist."""
    return Path(os.environ.get("BQWIDGET_DATA_DIR") or user_data_path("bqwidget", appauthor=False))
