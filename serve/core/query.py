"""From a protocol request to a query that the model can answer, or to an error that says why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve.core.errors import InvalidRequestError, TooLargeError
from serve.core.messages import InferRequest, Items, Kind, ModelRef, RequestedOutput, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from serve.core.card import ModelCard

ROW_OUTPUTS = ("probabilities", "logits", "attention")
OUTPUTS = (*ROW_OUTPUTS, "label", "status")
DEFAULT_OUTPUTS = (RequestedOutput(name="probabilities"), RequestedOutput(name="label"))
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
        timeout_s: The caller's `timeout` parameter, in seconds; None when it set none.
    """

    ref: ModelRef
    request_id: str
    items: Items
    outputs: tuple[RequestedOutput, ...]
    wants: frozenset[str]
    partial: bool = False
    timeout_s: float | None = None

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
        message = f"input {items.kind.value!r}: {items.count} images in one request, at most {max_images} are allowed"
        raise TooLargeError(message)
    outputs = _outputs(request, card)
    return Query(
        ref=card.ref,
        request_id=request.request_id,
        items=items,
        outputs=outputs,
        wants=frozenset().union(*(NEEDS[output.name] for output in outputs)) or NEEDS["label"],
        partial=_flag(request, "partial"),
        timeout_s=_timeout(request),
    )


def _items(request: InferRequest, card: ModelCard) -> Items:
    names = [tensor.name for tensor in request.inputs]
    if len(names) != 1 or names[0] not in _READERS:
        found = ", ".join(repr(name) for name in names) or "none"
        message = (
            f"inputs: expected exactly one of 'image', 'pixels', 'input' for model {card.ref.name!r}, got {found}"
        )
        raise InvalidRequestError(message)
    tensor = request.inputs[0]
    items = _READERS[tensor.name](tensor, card)
    if items.count == 0:
        message = f"input {tensor.name!r}: shape {list(tensor.shape)} holds no image"
        raise InvalidRequestError(message)
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
        message = f"input {tensor.name!r}: datatype is {tensor.datatype}, expected {datatype}"
        raise InvalidRequestError(message)
    if not fits:
        message = f"input {tensor.name!r}: shape is {list(tensor.shape)}, expected {shape}"
        raise InvalidRequestError(message)


def _outputs(request: InferRequest, card: ModelCard) -> tuple[RequestedOutput, ...]:
    seen: set[str] = set()
    for output in request.outputs:
        _check_output(output, card, seen)
        seen.add(output.name)
    outputs = request.outputs or DEFAULT_OUTPUTS
    if _flag(request, "partial") and "status" not in seen:
        outputs = (*outputs, RequestedOutput(name="status"))
    return outputs


def _check_output(output: RequestedOutput, card: ModelCard, seen: set[str]) -> None:
    if output.name not in OUTPUTS:
        message = f"output {output.name!r} is not offered by model {card.ref.name!r}: use one of {', '.join(OUTPUTS)}"
        raise InvalidRequestError(message)
    if output.name in seen:
        message = f"output {output.name!r} is requested twice"
        raise InvalidRequestError(message)
    if output.name == "attention" and not card.attention_layout:
        message = f"output 'attention' is not offered by model {card.ref.name!r}: it has no channel gates"
        raise InvalidRequestError(message)
    classification = output.parameters.get("classification", 0)
    if isinstance(classification, bool) or not isinstance(classification, int) or classification < 0:
        message = f"output {output.name!r}: classification is {classification!r}, expected a whole number above 0"
        raise InvalidRequestError(message)
    if classification and output.name not in ("probabilities", "logits"):
        message = f"output {output.name!r}: classification is offered for 'probabilities' and 'logits' only"
        raise InvalidRequestError(message)


def _flag(request: InferRequest, name: str) -> bool:
    value = request.parameters.get(name, False)
    if not isinstance(value, bool):
        message = f"parameter {name!r} is {value!r}, expected true or false"
        raise InvalidRequestError(message)
    return value


def _timeout(request: InferRequest) -> float | None:
    # schedule_policy extension: microseconds, 0 means none.
    value = request.parameters.get("timeout", 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        message = f"parameter 'timeout' is {value!r}, expected a whole number of microseconds, 0 for none"
        raise InvalidRequestError(message)
    return value / 1e6 if value else None
