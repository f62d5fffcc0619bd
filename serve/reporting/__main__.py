"""`python -m serve.reporting < report.json > report.html`."""

from __future__ import annotations

import json
import sys

from serve.reporting.page import page


def main() -> None:
    """Read the document from standard input and write the page to standard output."""
    sys.stdout.buffer.write(page(json.load(sys.stdin.buffer)).encode())


if __name__ == "__main__":
    main()
