"""Requests that are wrong on purpose: how each is spoiled, and the one refusal that is right for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from serve.core.errors import Code
from serve.core.messages import DATATYPE_SIZES, InferRequest, RequestedOutput

MOST_IMAGES = 128  # the gateway's default max_request_images


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One way to be wrong.

    Attributes:
        name: For the report.
        code: Of the refusal that is expected.
        text: What the refusal's message must contain.
        spoil: Makes a good request a bad one.
        on_the_wire: Whether the message itself is spoiled, when it is encoded.
    """

    name: str
    code: Code
    text: str
    spoil: Callable[[InferRequest], InferRequest]
    on_the_wire: bool = False


def _same(request: InferRequest) -> InferRequest:
    return request


def _unknown_model(request: InferRequest) -> InferRequest:
    return replace(request, model="no_such_model", version="")


def _unknown_version(request: InferRequest) -> InferRequest:
    return replace(request, version="999")


def _unknown_input(request: InferRequest) -> InferRequest:
    return replace(request, inputs=tuple(replace(tensor, name="photo") for tensor in request.inputs))


def _unknown_output(request: InferRequest) -> InferRequest:
    return replace(request, outputs=(RequestedOutput(name="certainty"),))


def _wrong_datatype(request: InferRequest) -> InferRequest:
    return replace(request, inputs=tuple(replace(tensor, datatype="FP31") for tensor in request.inputs))


def _wrong_shape(request: InferRequest) -> InferRequest:
    """Say twice as many images as there are."""
    (tensor,) = request.inputs
    return replace(request, inputs=(replace(tensor, shape=(2 * tensor.shape[0], *tensor.shape[1:])),))


def _cut_data(request: InferRequest) -> InferRequest:
    """Leave out the last element."""
    (tensor,) = request.inputs
    size = 1 if isinstance(tensor.data, tuple) else DATATYPE_SIZES[tensor.datatype]
    return replace(request, inputs=(replace(tensor, data=tensor.data[:-size]),))


def _bad_parameter(request: InferRequest) -> InferRequest:
    return replace(request, parameters={**request.parameters, "priority": "high"})


def _too_many(request: InferRequest) -> InferRequest:
    (tensor,) = request.inputs
    count = MOST_IMAGES + 1
    blobs = tuple(b"%d" % number for number in range(count))
    many = replace(tensor, name="image", datatype="BYTES", shape=(count,), data=blobs)
    return replace(request, inputs=(many,))


TOO_LARGE = Flaw(
    name="too many bytes", code=Code.TOO_LARGE, text="larger than", spoil=_same, on_the_wire=True
)
UNREADABLE = Flaw(name="unreadable message", code=Code.INVALID, text="", spoil=_same, on_the_wire=True)
CORRUPT = Flaw(name="corrupt image", code=Code.INVALID, text="image [", spoil=_same)
FLAWS = (
    Flaw(name="unknown model", code=Code.NOT_FOUND, text="is not found", spoil=_unknown_model),
    Flaw(name="unknown version", code=Code.NOT_FOUND, text="has no version", spoil=_unknown_version),
    Flaw(name="unknown input", code=Code.INVALID, text="exactly one of", spoil=_unknown_input),
    Flaw(name="unknown output", code=Code.INVALID, text="is not offered", spoil=_unknown_output),
    Flaw(name="wrong datatype", code=Code.INVALID, text="FP31", spoil=_wrong_datatype),
    Flaw(name="wrong shape", code=Code.INVALID, text="input", spoil=_wrong_shape),
    Flaw(name="data cut off", code=Code.INVALID, text="input", spoil=_cut_data),
    Flaw(name="bad parameter", code=Code.INVALID, text="'priority'", spoil=_bad_parameter),
    Flaw(name="too many images", code=Code.TOO_LARGE, text="at most 128", spoil=_too_many),
    UNREADABLE,
    TOO_LARGE,
)
