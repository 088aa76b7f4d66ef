"""Entry point of the Jupyter Server extension, imported by name. The extension itself is in ``bqserver.jupyter``."""

from __future__ import annotations

from bqserver.jupyter.extension import BqserverExtension, _jupyter_server_extension_points

__all__ = ["BqserverExtension", "_jupyter_server_extension_points"]
