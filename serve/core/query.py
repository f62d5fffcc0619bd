"""From a protocol request to a query that the model can answer, or to an error that says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serve.core.card import ModelCard
from serve.core.errors import InvalidRequestError, TooLargeError
from serve.core.messages import (
    InferRequest,
    Items,
    Kind,
    ModelRef,
    Parameter,
    RequestedOutput,
    Tensor,
)
from serve.core.trace import Trace

ROW_OUTPUTS = ("probabilities", "logits", "attention")
OUTPUTS = (*ROW_OUTPUTS, "label", "status")
# What the classification extension is offered for: rows with one column a class.
CLASSIFIABLE = ("probabilities", "logits")
DEFAULT_OUTPUTS = (RequestedOutput(name="probabilities"), RequestedOutput(name="label"))
# Of the schedule_policy extension: 1 is served first; who asks for none (0) stands in the second line.
DEFAULT_PRIORITY = 2
# What the handler must compute for each output; `status` comes with every reply.
NEEDS = {name: frozenset({name}) for name in ROW_OUTPUTS} | {
    "label": frozenset({"probabilities"}),
    "status": frozenset[str](),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A checked request.

    Attributes:
        ref: The model and version that will answer.
        outputs: What to return, in order; never empty.
        wants: What the engine must return for it.
        partial: Answer the good images and give each its status, rather than fail for one bad image.
        priority: The lower, the sooner it is served; from 1 on.
        timeout_s: The caller's `timeout` parameter, in seconds; None when it set none.
        trace: Of the request; None: it is not traced.
    """

    ref: ModelRef
    request_id: str
    items: Items
    outputs: tuple[RequestedOutput, ...]
    wants: frozenset[str]
    partial: bool = False
    priority: int = DEFAULT_PRIORITY
    timeout_s: float | None = None
    trace: Trace | None = None

    @property
    def attention(self) -> bool:
        """Whether it needs the lane that computes the channel gates."""
        return "attention" in self.wants


def interpret(request: InferRequest, card: ModelCard, *, max_images: int) -> Query:
    """Check a request against the card of the model that will answer it.

    Args:
        request: The request, its tensors' lengths already checked by the codec.
        card: The card of the resolved model.
        max_images: Most images that one request may carry.

    Raises:
        InvalidRequestError: An input, output or parameter breaks a rule; the message names it.
        TooLargeError: More images than `max_images`.
    """
    items = _items(request, card)
    if items.count > max_images:
        raise TooLargeError(
            f"input {items.kind.value!r}: {items.count} images in a request, at most {max_images} are allowed"
        )
    partial = _flag(request.parameters, "partial")
    outputs = _outputs(request, card, partial=partial)
    timeout_us = _whole(request.parameters, "timeout", "number of microseconds, 0 for none")
    return Query(
        ref=card.ref,
        request_id=request.request_id,
        items=items,
        outputs=outputs,
        # An engine is always asked for something, even when only `status` is wanted.
        wants=frozenset().union(*(NEEDS[output.name] for output in outputs)) or NEEDS["label"],
        partial=partial,
        priority=_whole(request.parameters, "priority", "number, 0 for the default") or DEFAULT_PRIORITY,
        timeout_s=timeout_us / 1e6 if timeout_us else None,
    )


def _items(request: InferRequest, card: ModelCard) -> Items:
    names = [tensor.name for tensor in request.inputs]
    if len(names) != 1 or names[0] not in _READERS:
        found = ", ".join(repr(name) for name in names) or "none"
        raise InvalidRequestError(
            f"inputs: model {card.ref.name!r} takes exactly one of 'image', 'pixels', 'input', got {found}"
        )
    tensor = request.inputs[0]
    items = _READERS[tensor.name](tensor, card)
    if items.count == 0:
        raise InvalidRequestError(f"input {tensor.name!r}: shape {list(tensor.shape)} holds no image")
    return items


def _image(tensor: Tensor, _card: ModelCard) -> Items:
    _expect(tensor, "BYTES", "[N] or [N,1]", fits=len(tensor.shape) == 1 or tensor.shape[1:] == (1,))
    assert isinstance(tensor.data, tuple), "the codec gives BYTES as a tuple"  # noqa: S101  our own invariant
    return Items(kind=Kind.IMAGE, blobs=tensor.data)


def _pixels(tensor: Tensor, _card: ModelCard) -> Items:
    fits = len(tensor.shape) == 4 and tensor.shape[3] == 3 and min(tensor.shape[1:3]) > 0  # noqa: PLR2004  N,H,W,3
    _expect(tensor, "UINT8", "[N,H,W,3]", fits=fits)
    return _raw(tensor, Kind.PIXELS)


def _features(tensor: Tensor, card: ModelCard) -> Items:
    height, width = card.input_size
    fits = len(tensor.shape) == 4 and tensor.shape[1:] == (3, height, width)  # noqa: PLR2004  N,3,H,W
    _expect(tensor, "FP32", f"[N,3,{height},{width}]", fits=fits)
    return _raw(tensor, Kind.INPUT)


_READERS: dict[str, Callable[[Tensor, ModelCard], Items]] = {
    "image": _image,
    "pixels": _pixels,
    "input": _features,
}


def _raw(tensor: Tensor, kind: Kind) -> Items:
    assert isinstance(tensor.data, bytes), "the codec gives numeric tensors as bytes"  # noqa: S101  our own invariant
    return Items(kind=kind, blobs=(tensor.data,), shape=tensor.shape)


def _expect(tensor: Tensor, datatype: str, shape: str, *, fits: bool) -> None:
    if tensor.datatype != datatype:
        raise InvalidRequestError(
            f"input {tensor.name!r}: datatype is {tensor.datatype}, expected {datatype}"
        )
    if not fits:
        raise InvalidRequestError(f"input {tensor.name!r}: shape is {list(tensor.shape)}, expected {shape}")


def _outputs(request: InferRequest, card: ModelCard, *, partial: bool) -> tuple[RequestedOutput, ...]:
    names: set[str] = set()
    for output in request.outputs:
        _check_output(output, card)
        if output.name in names:
            raise InvalidRequestError(f"output {output.name!r} is requested twice")
        names.add(output.name)
    outputs = request.outputs or DEFAULT_OUTPUTS
    return (*outputs, RequestedOutput(name="status")) if partial and "status" not in names else outputs


def _check_output(output: RequestedOutput, card: ModelCard) -> None:
    name, model = output.name, card.ref.name
    if name not in OUTPUTS:
        raise InvalidRequestError(
            f"output {name!r} is not offered by model {model!r}: use one of {', '.join(OUTPUTS)}"
        )
    if name == "attention" and not card.attention_layout:
        raise InvalidRequestError(
            f"output {name!r} is not offered by model {model!r}: it has no channel gates"
        )
    if "classification" not in output.parameters:
        return
    top = output.parameters["classification"]
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidRequestError(
            f"output {name!r}: classification is {top!r}, expected a whole number above 0"
        )
    if name not in CLASSIFIABLE:
        raise InvalidRequestError(
            f"output {name!r}: classification is offered for {' and '.join(CLASSIFIABLE)} only"
        )


def _flag(parameters: Mapping[str, Parameter], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"parameter {name!r} is {value!r}, expected true or false")
    return value


def _whole(parameters: Mapping[str, Parameter], name: str, rule: str) -> int:
    value = parameters.get(name, 0)
    # Some clients write every parameter as a string.
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequestError(f"parameter {name!r} is {value!r}, expected a whole {rule}")
    return value
