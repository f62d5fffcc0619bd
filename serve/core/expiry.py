"""How it is written when something expires: as a day, or as a moment with a zone (ISO 8601)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

RULE = "must be a date, 2030-12-31, or a time with a zone, 2030-12-31T18:00:00Z"


def expiry(written: object) -> datetime:
    """The moment that is meant; a date means the last second of that day in UTC.

    Args:
        written: Text, or what YAML makes of it.

    Raises:
        ValueError: It is neither, or a time without a zone.
    """
    meant = _parsed(written) if isinstance(written, str) else written
    if isinstance(meant, datetime):
        if meant.tzinfo is None:
            raise ValueError(RULE)
        return meant
    if isinstance(meant, date):
        return datetime.combine(meant, time(23, 59, 59), UTC)
    raise ValueError(RULE)


def _parsed(text: str) -> date:
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(text)
        except ValueError:
            continue
    raise ValueError(RULE)
