"""What the page is given beside the protocol and experiments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serve.live import Live


@dataclass(frozen=True, slots=True, kw_only=True)
class PageParts:
    """What a gateway shows on its page.

    Attributes:
        samples: Folder of images to try; None: there are none.
        grafana_url: Where dashboards are; "": nowhere.
        processes: Gateways that share the ports; what is counted is counted by each of them.
        live: What happens now; None: it is not told.
    """

    samples: Path | None = None
    grafana_url: str = ""
    processes: int = 1
    live: Live | None = None
