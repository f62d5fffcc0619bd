"""How much traffic there is now, from the gateway's own metrics."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

DAY_S = 86_400.0
# Before that a gateway has not seen enough to speak of days.
LEAST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the arms' models were asked, on average since the gateway's start.

    Attributes:
        per_day: Requests; None where it is too early to tell, or nobody has asked.
        sentence: Where the figure comes from, or why there is none.
    """

    per_day: float | None
    sentence: str


def traffic(page: str, models: Collection[str], now: float | None = None) -> Traffic:
    """Read the traffic off a page of metrics; each request is taken for a unit of its own.

    Args:
        page: The text that Prometheus reads.
        models: Those whose callers will take part.
        now: Unix time; None: the clock's.

    Raises:
        ValueError: It is no such page.
    """
    started, requests = None, 0.0
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "process_start_time_seconds":
                started = sample.value
            elif sample.name == "attnserve_requests_total" and sample.labels["model"] in models:
                requests += sample.value if sample.labels["outcome"] != "client_error" else 0
    if started is None:
        raise ValueError("does not say when the gateway started")
    age_s = (time.time() if now is None else now) - started
    named = " and ".join(sorted(models))
    if age_s < LEAST_S or not requests:
        return Traffic(
            per_day=None,
            sentence=f"{requests:,.0f} requests to {named} since the gateway's start, {_lasting(age_s)} ago,"
            " say nothing of days: give --units-per-day.",
        )
    per_day = requests / age_s * DAY_S
    return Traffic(
        per_day=per_day,
        sentence=f"Days are for {per_day:,.0f} units a day: {requests:,.0f} requests to {named} since the"
        f" gateway's start, {_lasting(age_s)} ago, each taken for a unit of its own.",
    )


def _lasting(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours >= 1 else f"{seconds / 60:.0f} minutes"
