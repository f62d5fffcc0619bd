"""Section "binary_tensor_data": raw tensors behind the JSON, both ways, and the plain upload of a file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest

from tests.conformance.gateway import MODEL, Gateway, label_of
from tests.conformance.wire import HEADER, Body, ask_rest, binary, element, given, json_image

pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = element(b"png")
IMAGE = given("image", "BYTES", [1], binary_data_size=len(PNG))
BOTH = frozenset({"probabilities", "label"})


def wanted(**outputs: bool | None) -> list[dict[str, object]]:
    """Requested outputs, with their binary_data where it is not None."""
    return [
        {"name": name} | ({} if wish is None else {"parameters": {"binary_data": wish}})
        for name, wish in outputs.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request, and which outputs come raw."""

    rule: str
    body: Body
    raw: frozenset[str]


ANSWERED = (
    Answered(rule="a raw input with JSON for an answer", body=binary(IMAGE, tail=PNG), raw=frozenset()),
    Answered(
        rule="binary_data_output asks for all outputs raw",
        body=binary(IMAGE, tail=PNG, parameters={"binary_data_output": True}),
        raw=BOTH,
    ),
    Answered(
        rule="a JSON input with raw outputs",
        body=json_image(parameters={"binary_data_output": True}),
        raw=BOTH,
    ),
    Answered(
        rule="binary_data of an output, the others in JSON",
        body=json_image(outputs=wanted(probabilities=True, label=None)),
        raw=frozenset({"probabilities"}),
    ),
    Answered(
        rule="binary_data of an output goes before binary_data_output",
        body=json_image(
            outputs=wanted(probabilities=None, label=False), parameters={"binary_data_output": True}
        ),
        raw=frozenset({"probabilities"}),
    ),
    Answered(
        rule="binary_data_output holds for outputs that are named, too",
        body=json_image(
            outputs=wanted(label=None, probabilities=None), parameters={"binary_data_output": True}
        ),
        raw=BOTH,
    ),
    Answered(
        rule="the header may say that all of the body is JSON",
        body=binary(given("image", "BYTES", [1], ["png"]), tail=b""),
        raw=frozenset(),
    ),
    Answered(
        rule="a header length of 0: the body is the image, all outputs raw",
        body=Body(content=b"png", headers={HEADER: "0"}),
        raw=BOTH,
    ),
    Answered(
        rule="... and plain JSON for those who accept only that",
        body=Body(content=b"png", headers={HEADER: "0", "Accept": "application/json"}),
        raw=frozenset(),
    ),
    *(
        Answered(
            rule=f"the request's Content-Type does not matter: {kind!r}",
            body=Body(content=b"png", headers={HEADER: "0", "Content-Type": kind}),
            raw=BOTH,
        )
        for kind in ("application/octet-stream", "application/x-www-form-urlencoded", "image/png", "nonsense")
    ),
)


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row.rule)
async def test_answers(shared: Gateway, row: Answered) -> None:
    """The outputs that are raw are those asked for; the headers say whether there is any."""
    said = await ask_rest(shared, row.body)
    assert said.code == 200, said.error
    assert said.raw == row.raw
    assert said.output("label")["data"] == [label_of(b"png")]
    assert (HEADER.lower() in said.headers) is bool(row.raw)
    kind = "application/octet-stream" if row.raw else "application/json"
    assert said.headers["content-type"] == kind


async def test_raw_outputs_come_in_the_order_of_the_outputs(shared: Gateway) -> None:
    """JSON without data, then the raw outputs one after the other, JSON ones mixed in or not."""
    names = ["label", "status", "probabilities"]
    wishes = wanted(label=True, status=False, probabilities=True)
    answer = await shared.rest.post(f"/v2/models/{MODEL}/infer", content=json_image(outputs=wishes).content)
    size = int(answer.headers[HEADER])
    outputs = json.loads(answer.content[:size])["outputs"]
    assert [output["name"] for output in outputs] == names
    assert ["data" in output for output in outputs] == [False, True, False]
    label = element(label_of(b"png").encode())
    assert answer.content[size : size + len(label)] == label
    assert len(answer.content) - size - len(label) == 40
    assert [output.get("parameters") for output in outputs] == [
        {"binary_data_size": len(label)},
        None,
        {"binary_data_size": 40},
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A request that breaks a rule: 400."""

    rule: str
    body: Body
    text: str


REFUSED = (
    Refused(
        rule="the inputs take more than there is",
        body=binary(given("image", "BYTES", [1], binary_data_size=8), tail=PNG),
        text="input 'image': binary_data_size is 8, 7 bytes of the body are left",
    ),
    Refused(
        rule="the inputs leave bytes over",
        body=binary(IMAGE, tail=PNG + b"!"),
        text="body: 1 bytes are left over after the inputs' binary data",
    ),
    Refused(
        rule="a binary input has no data beside",
        body=binary(given("image", "BYTES", [1], ["png"], binary_data_size=len(PNG)), tail=PNG),
        text="input 'image': has data, must not since binary_data_size is given",
    ),
    Refused(
        rule="binary_data_size is an integer",
        body=binary(given("image", "BYTES", [1], binary_data_size="7"), tail=PNG),
        text="input 'image': binary_data_size is '7', must be an integer",
    ),
    Refused(
        rule="binary_data_size is not negative",
        body=binary(given("image", "BYTES", [1], binary_data_size=-1), tail=PNG),
        text="input 'image': binary_data_size is -1, 7 bytes of the body are left",
    ),
    Refused(
        rule="without the header the whole body is JSON",
        body=Body(content=binary(IMAGE, tail=PNG).content),
        text="body: not JSON, .*",
    ),
    Refused(
        rule="a plain upload is not empty",
        body=Body(content=b"", headers={HEADER: "0"}),
        text="body: is empty, must be an image or JSON",
    ),
    Refused(
        rule="binary_data is a boolean",
        body=json_image(outputs=[{"name": "label", "parameters": {"binary_data": 1}}]),
        text="output 'label': binary_data is 1, must be a boolean",
    ),
    Refused(
        rule="binary_data_output is a boolean",
        body=json_image(parameters={"binary_data_output": "yes"}),
        text="binary_data_output is 'yes', must be a boolean",
    ),
)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.rule)
async def test_refuses(shared: Gateway, row: Refused) -> None:
    """A body that does not add up is 400, with a text that says where."""
    said = await ask_rest(shared, row.body)
    assert said.code == 400
    assert re.fullmatch(row.text, said.error)
