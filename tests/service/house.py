"""A gateway without doors: fake engines, a pool, a batcher, a service, all on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from serve.audit import AuditLog
from serve.batcher import Batcher, Surroundings
from serve.core.batching import Limits
from serve.core.call import Call
from serve.core.card import AttentionBlock, ModelCard
from serve.core.catalog import ModelState
from serve.core.messages import Batch, InferRequest, Items, Kind, ModelRef, Parameter, RequestedOutput, Tensor
from serve.core.query import DEFAULT_PRIORITY, Query
from serve.core.ratelimit import RateLimiter
from serve.engines.fake import FakeEngine, Pace, class_of
from serve.engines.pool import EnginePool, PoolOptions
from serve.experiments.directory import Directory
from serve.inference import Inference, RequestLimits
from serve.metrics import Metrics
from serve.repository import Entry, Repository
from serve.service import Parts, Service, ServiceOptions
from serve.usage import UsageBook
from tests.service.virtual_time import at_end, clock

REF = ModelRef(name="digits_se", version="1")
CARD = ModelCard(
    ref=REF,
    labels=tuple("0123456789"),
    input_size=(2, 2),
    attention="se",
    attention_layout=(AttentionBlock(block="layer1", channels=3, branches=1),),
    trained=True,
    max_batch=16,
    contents_sha256="c" * 64,
    signature={},
)
PACE = Pace(batch_s=1.0)
LIMITS = Limits(max_batch=16, max_queue_images=1000)
POOL_OPTIONS = PoolOptions()
SERVICE_OPTIONS = ServiceOptions(version="0.0.0")
REQUEST_LIMITS = RequestLimits()
CALL = Call(protocol="grpc")
FAR = 1e6
PROBABILITIES = frozenset({"probabilities"})
GATES = frozenset({"probabilities", "attention"})


class Loads:
    """A loader that only remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def load(self, name: str) -> None:
        """Remember."""
        self.asked.append(("load", name))

    async def unload(self, name: str) -> None:
        """Remember."""
        self.asked.append(("unload", name))


@dataclass(kw_only=True)
class House:
    """Everything between the doors and the engines; engines are attached to `card`'s version."""

    pace: Pace = PACE
    engines: int = 1
    card: ModelCard = CARD
    limits: Limits = LIMITS
    pool_options: PoolOptions = POOL_OPTIONS
    options: ServiceOptions = SERVICE_OPTIONS
    requests: RequestLimits = REQUEST_LIMITS
    held: list[FakeEngine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.usage = UsageBook()
        self.pool = EnginePool(self.metrics, self.pool_options, clock)
        at_end.append(self.pool.close)
        self.batcher = Batcher(self.limits, Surroundings(self.pool, self.metrics, self.usage, clock))
        self.repository = Repository(self.metrics, pinned=[self.card.ref.name])
        self.loads = Loads()
        self.audited: list[bytes] = []
        self.audit = AuditLog(self.audited.append, self.metrics, clock)
        self.limits_of: dict[str, float] = {}
        rates = RateLimiter(self.limits_of.get)
        self.inference = Inference(self.batcher, rates, self.metrics, self.requests, clock)
        self.directory = Directory(self.repository)
        parts = Parts(
            repository=self.repository,
            directory=self.directory,
            inference=self.inference,
            trials=None,
            batcher=self.batcher,
            loader=self.loads,
            metrics=self.metrics,
            usage=self.usage,
            audit=self.audit,
            clock=clock,
        )
        self.service = Service(parts, self.options)
        self.held = [FakeEngine(f"engine{number}", [self.card], self.pace) for number in range(self.engines)]
        self.repository.put(Entry(ref=self.card.ref, state=ModelState.READY, card=self.card))
        for engine in self.held:
            self.pool.attach(self.card.ref, engine)

    @property
    def engine(self) -> FakeEngine:
        """The first engine."""
        return self.held[0]

    @property
    def sizes(self) -> list[int]:
        """Images of each batch that the first engine was given, in order."""
        return [batch.count for batch in asked(self.engine)]

    def sample(self, name: str, **labels: str) -> float:
        """The value of a series, which must exist."""
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, f"there is no series {name}{labels}"
        return value

    def waiting(self) -> float:
        """The gauge of images that wait."""
        return self.sample("attnserve_queue_images", model=self.card.ref.name)

    def outcomes(self, model: str = REF.name, version: str = REF.version) -> dict[str, float]:
        """Requests by protocol and outcome, those that are not 0."""
        return {
            f"{sample.labels['protocol']} {sample.labels['outcome']}": sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "attnserve_requests_total" and sample.value
            if (sample.labels["model"], sample.labels["version"]) == (model, version)
        }

    def ask(
        self,
        images: tuple[bytes, ...],
        *,
        deadline: float = FAR,
        wants: frozenset[str] = PROBABILITIES,
        priority: int = DEFAULT_PRIORITY,
    ) -> asyncio.Task[list[int]]:
        """Begin a request; the task gives the class of each image, -1 for a failed one."""

        async def answer() -> list[int]:
            asked = replace(query_of(images, self.card), wants=wants, priority=priority)
            prediction = await self.batcher.predict(self.card, asked, deadline)
            best = prediction.outputs["probabilities"].argmax(axis=1)
            return [-1 if status else int(row) for status, row in zip(prediction.status, best, strict=True)]

        return asyncio.get_running_loop().create_task(answer())


def asked(engine: FakeEngine) -> list[Batch]:
    """The batches that an engine was given, canaries left out."""
    return [
        batch for _, batch in engine.batches if any(b"".join(part.blobs).strip(b"\0") for part in batch.parts)
    ]


def query_of(images: tuple[bytes, ...], card: ModelCard = CARD) -> Query:
    """A query for the probabilities of some images."""
    return Query(
        ref=card.ref,
        request_id="",
        items=Items(kind=Kind.IMAGE, blobs=images),
        outputs=(RequestedOutput(name="probabilities"),),
        wants=PROBABILITIES,
    )


def request_of(
    images: tuple[bytes, ...],
    *,
    model: str = REF.name,
    version: str = "",
    outputs: Iterable[str] = (),
    parameters: Mapping[str, Parameter] | None = None,
) -> InferRequest:
    """A protocol request for some images."""
    tensor = Tensor(name="image", datatype="BYTES", shape=(len(images),), data=images)
    return InferRequest(
        model=model,
        version=version,
        request_id="r1",
        inputs=(tensor,),
        outputs=tuple(RequestedOutput(name=name) for name in outputs),
        parameters=parameters or {},
    )


def numbered(count: int, prefix: str = "image") -> tuple[bytes, ...]:
    """Images that are all different."""
    return tuple(f"{prefix} {number}".encode() for number in range(count))


def classes(images: Iterable[bytes]) -> list[int]:
    """What the fake engine makes of some images."""
    return [class_of(image, CARD.classes) for image in images]


def images_of(batch: Batch) -> list[bytes]:
    """The images of a batch, in order."""
    return [image for part in batch.parts for image in part.blobs]
