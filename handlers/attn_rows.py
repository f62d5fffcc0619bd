"""One TorchServe request each: what it asks, and what it is answered, packed or stock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Protocol, TypeAlias

from . import attn_request, attn_stock, attn_wire
from .attn_archive import Signature
from .attn_batch import Results
from .attn_decode import ImageError
from .attn_wire import Describe, Item, Reply, Request, WireError

Refusal: TypeAlias = WireError | ImageError


class Context(Protocol):
    """What the handler uses of TorchServe's context."""

    @property
    def system_properties(self) -> Mapping[str, object]:
        """`model_dir`, where the archive is unpacked, and `gpu_id`, None for the CPU."""

    @property
    def model_yaml_config(self) -> Mapping[str, object] | None:
        """The archive's model-config.yaml."""

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Name the type of row idx's answer."""

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set the HTTP status of row idx's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One TorchServe request, read.

    Attributes:
        index: Its place in TorchServe's batch.
        packed: Whether the gateway sent it; else a stock client did.
        content: What it asks, or why it cannot be answered.
    """

    index: int
    packed: bool
    content: Request | Describe | Refusal

    def items(self) -> list[Item]:
        """What it wants classified."""
        return self.content.items() if isinstance(self.content, Request) else []

    @property
    def wants_attention(self) -> bool:
        """Whether it asks for the gates."""
        return isinstance(self.content, Request) and "attention" in self.content.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the handler says of itself and its model.

    Attributes:
        signature: Of the archive.
        contents_sha256: Of the archive.
        device: As torch writes it.
        recipe: Name of the form that is served.
        recipe_reasons: Why other forms are not.
        decoder: Name of what reads JPEG files.
        handler: Version of the handler.
    """

    signature: Signature
    contents_sha256: str
    device: str
    recipe: str
    recipe_reasons: Sequence[str]
    decoder: str
    handler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One pass over some items.

    Attributes:
        results: What became of them.
        decode_us: Microseconds that the net waited for its input.
        inference_us: Microseconds of the forward pass.
        inferred_ns: When it ended, by time.perf_counter_ns.
    """

    results: Results
    decode_us: int
    inference_us: int
    inferred_ns: int


def read_rows(data: Sequence[Mapping[str, object]], *, explains: bool) -> list[Row]:
    """Read TorchServe's batch; never raises for what a client sent.

    Args:
        data: Key to bytes, per request.
        explains: Whether the net can answer with its gates.
    """
    rows = []
    for index, row in enumerate(data):
        packed = attn_request.is_packed(row)
        try:
            content = attn_request.parse(row) if packed else attn_stock.parse(row)
            _check_offered(content, explains=explains)
            rows.append(Row(index=index, packed=packed, content=content))
        except (WireError, ImageError) as refusal:
            rows.append(Row(index=index, packed=packed, content=refusal))
    return rows


def answer(rows: Sequence[Row], run: Run, card: Card, ctx: Context) -> list[bytes]:
    """Answer every row, in order."""
    answers = []
    first = 0
    for row in rows:
        count = len(row.items())
        own = replace(run, results=run.results.of_items(first, count))
        answers.append(_packed_answer(row, own, card) if row.packed else _stock_answer(row, own, card, ctx))
        first += count
    return answers


def _check_offered(content: Request | Describe, *, explains: bool) -> None:
    if isinstance(content, Request) and "attention" in content.outputs and not explains:
        raise WireError("outputs: 'attention' is not offered by this model, since it has no channel gates")


def _packed_answer(row: Row, run: Run, card: Card) -> bytes:
    content = row.content
    if isinstance(content, Describe):
        return attn_wire.encode_describe(_described(card))
    if not isinstance(content, Request):
        return attn_wire.encode_error(content.code, str(content))
    failures = run.results.failures
    status = [0] * len(row.items())
    for number, failure in failures.items():
        status[number] = failure.code
    reply = Reply(
        status=status,
        messages={number: str(failure) for number, failure in failures.items()},
        outputs={name: run.results.arrays[name] for name in content.outputs},
        timings_us={
            "decode": run.decode_us,
            "inference": run.inference_us,
            "encode": (perf_counter_ns() - run.inferred_ns) // 1000,
        },
        device=card.device,
    )
    return attn_wire.encode_reply(reply)


def _described(card: Card) -> dict[str, object]:
    return {
        "signature": dict(card.signature.document),
        "contents_sha256": card.contents_sha256,
        "device": card.device,
        "recipe": card.recipe,
        "recipe_reasons": list(card.recipe_reasons),
        "decoder": card.decoder,
        "handler": card.handler,
    }


def _stock_answer(row: Row, run: Run, card: Card, ctx: Context) -> bytes:
    ctx.set_response_content_type(row.index, attn_stock.CONTENT_TYPE)
    refusal = row.content if isinstance(row.content, Exception) else run.results.failures.get(0)
    if refusal is not None:
        ctx.set_response_status(400, "Bad Request", row.index)
        return attn_stock.encode_error(str(refusal))
    return attn_stock.encode(run.results.arrays["probabilities"][0], card.signature)
