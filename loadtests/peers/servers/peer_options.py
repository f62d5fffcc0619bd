"""What every peer's program is started with; a plain file beside them.

It comes in a variable of the environment, because some servers import the program anew in each of their
processes, where the command line is theirs.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "PEER_OPTIONS"
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """What is to be served, and how.

    Attributes:
        net: The folder for PeerNet.
        ports: To listen on, on loopback: first the one that is measured, then others that must be somewhere.
        settings: The server's own, as the catalogue prints them; "tuned" is for PeerNet.
    """

    net: Path
    ports: tuple[int, ...]
    settings: dict[str, Any]

    @property
    def tuned(self) -> bool:
        """Whether the preprocessing is the quick one."""
        return bool(self.settings["tuned"])


def options() -> Options:
    """Read the variable."""
    found = json.loads(os.environ[VARIABLE])
    return Options(net=Path(found["net"]), ports=tuple(found["ports"]), settings=found["settings"])
