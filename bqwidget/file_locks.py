"""Locks on files: one process at a time holds one, until it closes the file or ends."""

from __future__ import annotations

import errno
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCKED_ERRNOS = errno.EACCES, errno.EAGAIN, errno.EDEADLK
"""Of a lock that another process holds. Others: there are no locks here, as on some network disks."""


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if another process holds its lock.

    Raises OSError where files can't be locked, as on some network disks.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in LOCKED_ERRNOS:
            raise
        return False
    return True
