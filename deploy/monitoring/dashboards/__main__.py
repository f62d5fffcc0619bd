"""Writes the dashboards as JSON: `python -m deploy.monitoring.dashboards`, or `make dashboards`."""

from __future__ import annotations

import sys

from deploy.monitoring.dashboards.collection import write


def main() -> int:
    """Write them, and say where."""
    for path in write():
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
