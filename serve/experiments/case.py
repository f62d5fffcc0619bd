"""A request to an experiment: whose it is, and what counts as whose error."""

from __future__ import annotations

from dataclasses import dataclass

from serve.core.answer import fault
from serve.core.assignment import Why
from serve.core.call import Call
from serve.core.errors import (
    Code,
    DeadlineError,
    DrainingError,
    InvalidRequestError,
    OverQuotaError,
    ServeError,
)
from serve.core.experiment import Experiment, Mode
from serve.core.messages import InferRequest, Prediction
from serve.core.record import Role, Said
from serve.core.trace import Facts, Trace
from serve.metrics import OUTCOMES

MAX_UNIT_CHARACTERS = 512
# Of its time: a call that got to an engine later had too little left to be blamed for being late.
_MOST_WAITED = 0.5
# The control answers in the place of an arm that fails so.
_FALLBACK = frozenset({Code.UNAVAILABLE, Code.INTERNAL, Code.OVERLOADED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, and who is to answer it, and why.

    Attributes:
        unit: As the caller named it, or made for this request.
    """

    experiment: Experiment
    request: InferRequest
    call: Call
    unit: str
    arm: int
    why: Why

    def tell_trace(self) -> None:
        """Tell the request's trace, if it has one, who answers."""
        if self.call.trace is not None:
            self.call.trace.tell(self.facts(self.arm))

    def facts(self, arm: int) -> Facts:
        """What the trace of an arm's call tells of it."""
        design = self.experiment.design
        return {"attnserve.experiment": design.name, "attnserve.arm": design.arms[arm].name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The request of an enrolled unit, as the ledger knows it.

    Attributes:
        prediction: Its name there, 32 hexadecimal digits.
        unit: The unit's keyed hash.
        at: Unix time of its arrival.
    """

    asked: Asked
    prediction: str
    unit: str
    at: float

    @property
    def experiment(self) -> Experiment:
        """What it was sent to."""
        return self.asked.experiment


@dataclass(frozen=True, slots=True)
class Heard:
    """What an arm answered, and what that says of each image in the control's words."""

    prediction: Prediction
    said: tuple[Said | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How one arm's call went.

    Attributes:
        outcome: "ok", or a value of `serve.metrics.OUTCOMES`.
        failed: Whether it counts against the arm.
        taken_s: From the call of the arm to its end, in seconds.
        heard: None where there was no answer.
        trace: Of that call; None: it is not traced.
    """

    role: Role
    outcome: str
    failed: bool
    taken_s: float
    heard: Heard | None
    trace: Trace | None = None


# What the control said of each image; () when it failed, None when its call does not count.
Told = tuple[Said | None, ...] | None


def falls_back(error: ServeError) -> bool:
    """Whether the control answers in the place of an arm that failed so."""
    return error.code in _FALLBACK and not isinstance(error, DrainingError | OverQuotaError)


def unit_of(request: InferRequest, call: Call) -> str:
    """The unit that the caller named: the parameter `unit`, else the header; "" when it named none.

    Raises:
        InvalidRequestError: The parameter is no text, empty or too long.
    """
    unit = request.parameters.get("unit")
    if unit is None:
        return call.unit or ""
    if isinstance(unit, bool | float):
        raise InvalidRequestError(f"parameter 'unit' is {unit!r}, expected a text")
    text = str(unit)
    if not 0 < len(text) <= MAX_UNIT_CHARACTERS:
        raise InvalidRequestError(
            f"parameter 'unit' has {len(text)} characters, expected 1 to {MAX_UNIT_CHARACTERS}"
        )
    return text


def is_failure(error: ServeError, mode: Mode) -> bool:
    """Whether an error counts against the arm that gave it.

    What the caller got wrong does not, nor a deadline that passed before an engine had begun, nor that this
    gateway ends: else a few restarts would look like an arm that fails. In shadow and
    paired mode a mirrored call stands behind all others: that it found no room, or waited for most of its
    time, says nothing of its arm. The same is then not held against the control, or the arms would look
    better than it under load.
    """
    queued_alike = mode is Mode.SPLIT
    if isinstance(error, DeadlineError):
        return error.begun and (queued_alike or error.waited <= _MOST_WAITED)
    if isinstance(error, DrainingError):
        return False
    if error.code is Code.OVERLOADED:
        return queued_alike and not isinstance(error, OverQuotaError)
    return error.code in (Code.UNAVAILABLE, Code.INTERNAL)


def size_of(request: InferRequest) -> int:
    """Bytes of a request's tensors."""
    blobs = (blob for tensor in request.inputs for blob in _blobs(tensor.data))
    return sum(map(len, blobs))


def _blobs(data: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    return data if isinstance(data, tuple) else (data,)


def images_of(request: InferRequest) -> tuple[bytes, ...]:
    """The images' files; raw tensors are not kept."""
    data = request.inputs[0].data
    return data if isinstance(data, tuple) else ()


def failed_inside(prediction: Prediction) -> bool:
    """Whether any image failed for a reason that is not the caller's."""
    return any(
        OUTCOMES[fault(status).code] in ("unavailable", "internal") for status in prediction.status if status
    )
