"""``python -m bqserver``: the same as the ``bqserver`` command."""

from __future__ import annotations

from .app import main

if __name__ == "__main__":
    main()
