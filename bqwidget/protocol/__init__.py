"""chat.v1: the frames between a room and its members, the entries that they carry, and their limits.

Every frame is one JSON object with a ``type``. Times (``at``, ``expires``) are milliseconds since the epoch; ``*_ms``
are durations in milliseconds. Unknown fields and unknown server frames are ignored, so both may be added without a new
version.

A ``user`` is a self-asserted name unless ``verified`` is true: then the server has authenticated the user, and may send
their ``profile`` (Jupyter's). Only servers send these two.
"""

from .base import *
from .client_frames import *
from .codec import *
from .conversion import *
from .entries import *
from .folding import *
from .limits import *
from .mentions import *
from .server_frames import *
from .validation import *
