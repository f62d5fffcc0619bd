"""At how many requests in hand for each worker to add another one.

By Little's law the mean number of requests that wait for a model is the rate of the seconds that they wait,
which the gateways count: unlike a gauge that is read now and then it misses nothing, and unlike the use of a
CPU or a GPU it grows with the queue. `loadtests.capacity.manifests` tells it to Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtests.capacity.fitted import Fitted
from loadtests.capacity.knee import Knee
from loadtests.capacity.queue import simulate

HEADROOM: Final = 0.7  # of the lowest knee: until another replica is ready, the others carry the growth
CONCURRENCY: Final = "attnserve_concurrency"
QUEUE_SECONDS: Final = "attnserve_queue_seconds"
_MOST: Final = 10  # replicas, where no target says how many it takes
_FEW: Final = 10  # requests a second; the same in deploy/monitoring/adapter
_LEAST_QUEUE_S: Final = 0.005  # metrics adapters count in thousandths of a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an autoscaler is told.

    Attributes:
        model: Whose requests were measured.
        p99_ms: The promise: 99 % are answered so soon.
        concurrency: Requests that wait for each worker, on average, at which it should be so many.
        queue_s: Mean seconds in the queue at the lowest knee: from there on the promise breaks.
        rate: Requests a second of each worker where it has `concurrency`.
        replicas: As many workers as the target rate needs; without one as many as were measured.
        most: Never more replicas than that.
    """

    model: str
    p99_ms: float
    concurrency: float
    queue_s: float
    rate: float
    replicas: int
    most: int

    def as_json(self) -> dict[str, Any]:
        """For a document."""
        names = {"metric": CONCURRENCY, "query": concurrency_query([self.model]), "headroom": HEADROOM}
        return names | asdict(self)

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Target:
        """From `as_json`."""
        return cls(**{name: document[name] for name in cls.__slots__})


def concurrency_query(models: Sequence[str], *, namespace: str = "") -> str:
    """PromQL: requests that wait for these models, at all gateways, on average over a minute.

    Args:
        models: All that the same workers answer.
        namespace: Only of gateways there; empty: of all that Prometheus knows.
    """
    return f"sum(rate(attnserve_predict_seconds_total{{{_matchers(models, namespace)}}}[1m]))"


def queue_query(models: Sequence[str], *, namespace: str = "") -> str:
    """PromQL: mean seconds for which requests that were answered had waited in the queue; 0 without any.

    It divides by some requests a second at least: without any, 0 / 0 would be no number, and a few that wait
    for slow workers are no load. Were it less, one a second to workers that take half a second would drive
    them from 1 to 10: the minute of the rates still holds old waits when more workers multiply the ratio.

    Args:
        models: As in `concurrency_query`.
        namespace: As in `concurrency_query`.
    """
    series = "attnserve_stage_duration_seconds"
    matchers = f'{{{_matchers(models, namespace)}, stage="queue"}}'
    waited, answered = (f"sum(rate({series}_{what}{matchers}[1m]))" for what in ("sum", "count"))
    return f"{waited} / clamp_min({answered}, {_FEW:g})"


def _matchers(models: Sequence[str], namespace: str) -> str:
    one = f'model="{models[0]}"' if len(models) == 1 else f'model=~"{"|".join(models)}"'
    return f'{one}, namespace="{namespace}"' if namespace else one


def target(model: Fitted, found: Knee, replicas: int | None) -> Target | None:
    """What to tell an autoscaler; None where there is no knee to keep away from.

    Args:
        model: The queue.
        found: Its knee.
        replicas: As many of what was measured as the target rate needs; None without one.
    """
    if found.lowest is None:
        return None
    rate = HEADROOM * found.lowest
    workers = model.batching.workers  # what was measured is so many, and a manifest scales single ones
    needed = workers * (replicas or 1)
    at_knee = simulate(model.service, model.batching, found.lowest)
    return Target(
        model=model.model,
        p99_ms=found.p99_ms,
        concurrency=simulate(model.service, model.batching, rate).concurrency / workers,
        queue_s=max(_LEAST_QUEUE_S, float(at_knee.queue_ms.mean()) / 1e3),
        rate=rate / workers,
        replicas=needed,
        most=max(_MOST, 2 * needed),
    )
