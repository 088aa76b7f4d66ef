"""chat.v1: the frames between a room and its members, the entries they carry, and their limits.

Every frame is one JSON object with a ``type``. Times (``at``, ``expires``) are milliseconds since the
epoch; ``*_ms`` are durations in milliseconds. Unknown fields and unknown server frames are ignored, so
both may be added without a new version.

A ``user`` is what somebody said, unless it is ``verified``: then the server knows that it was them, and their
``profile`` (what Jupyter says of their looks) may come with it. Only servers send either.
"""

from .base import *
from .codec import *
from .entries import *
from .frames import *
from .limits import *
from .validation import *
