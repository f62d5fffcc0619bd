"""Unix time that never jumps, also when somebody sets the machine's clock meanwhile."""

from __future__ import annotations

import time
from typing import Final

_BEGAN: Final = time.time() - time.perf_counter()


def now() -> float:
    """Unix time in seconds, as the machine's clock had it when this module was imported, and counted on."""
    return _BEGAN + time.perf_counter()
