"""From a request to a query: what is understood, and how everything else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from serve.core.card import AttentionBlock, ModelCard
from serve.core.errors import InvalidRequestError, TooLargeError
from serve.core.messages import InferRequest, Items, Kind, ModelRef, Parameter, RequestedOutput, Tensor
from serve.core.query import DEFAULT_PRIORITY, Query, interpret

CARD = ModelCard(
    ref=ModelRef(name="digits_se", version="3"),
    labels=("a", "b", "c"),
    input_size=(4, 2),
    attention="se",
    attention_layout=(AttentionBlock(block="layer1", channels=3, branches=1),),
    trained=True,
    max_batch=8,
    contents_sha256="",
    signature={},
)
PLAIN = replace(CARD, attention="none", attention_layout=())
IMAGE = Tensor(name="image", datatype="BYTES", shape=(2,), data=(b"x", b"y"))
PIXELS = Tensor(name="pixels", datatype="UINT8", shape=(2, 1, 5, 3), data=bytes(30))
FEATURES = Tensor(name="input", datatype="FP32", shape=(1, 3, 4, 2), data=bytes(96))


def request(*inputs: Tensor, **changes: Any) -> InferRequest:  # noqa: ANN401  fields of the request
    """A request for the model, by default with two encoded images."""
    return InferRequest(model="digits_se", inputs=inputs or (IMAGE,), **changes)


def outputs(*names: str, **parameters: Parameter) -> tuple[RequestedOutput, ...]:
    """Outputs with the same parameters each."""
    return tuple(RequestedOutput(name=name, parameters=parameters) for name in names)


def read(asked: InferRequest, card: ModelCard = CARD) -> Query:
    """Interpret with room for eight images."""
    return interpret(asked, card, max_images=8)


@pytest.mark.parametrize(
    ("tensor", "items"),
    [
        (IMAGE, Items(kind=Kind.IMAGE, blobs=(b"x", b"y"))),
        (replace(IMAGE, shape=(2, 1)), Items(kind=Kind.IMAGE, blobs=(b"x", b"y"))),
        (PIXELS, Items(kind=Kind.PIXELS, blobs=(bytes(30),), shape=(2, 1, 5, 3))),
        (FEATURES, Items(kind=Kind.INPUT, blobs=(bytes(96),), shape=(1, 3, 4, 2))),
    ],
)
def test_each_kind_of_input_is_read(tensor: Tensor, items: Items) -> None:
    """Encoded images in one or two dimensions, pixels of any size, features of the model's own size."""
    assert read(request(tensor)).items == items


def test_a_plain_request_gets_the_defaults() -> None:
    """Probabilities and label, the default priority, no timeout, all or nothing."""
    assert read(request(request_id="r")) == Query(
        ref=CARD.ref,
        request_id="r",
        items=Items(kind=Kind.IMAGE, blobs=(b"x", b"y")),
        outputs=outputs("probabilities", "label"),
        wants=frozenset({"probabilities"}),
        partial=False,
        priority=DEFAULT_PRIORITY,
        timeout_s=None,
    )


@pytest.mark.parametrize(
    ("names", "wants"),
    [
        (["label"], {"probabilities"}),
        (["logits", "probabilities"], {"logits", "probabilities"}),
        (["attention", "status"], {"attention"}),
        (["status"], {"probabilities"}),
    ],
)
def test_outputs_say_what_the_engine_must_return(names: list[str], wants: set[str]) -> None:
    """In the order asked for; labels need probabilities, and something is always computed."""
    query = read(request(outputs=outputs(*names)))
    assert [output.name for output in query.outputs] == names
    assert query.wants == wants
    assert query.attention == ("attention" in names)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ((), ["probabilities", "label", "status"]),
        (("logits",), ["logits", "status"]),
        (("status", "label"), ["status", "label"]),
    ],
)
def test_partial_always_returns_status(asked: tuple[str, ...], given: list[str]) -> None:
    """It is added where it was not asked for, and not doubled."""
    query = read(request(outputs=outputs(*asked), parameters={"partial": True}))
    assert query.partial
    assert [output.name for output in query.outputs] == given


@pytest.mark.parametrize(
    ("parameters", "priority", "timeout_s"),
    [
        ({"priority": 0, "timeout": 0}, DEFAULT_PRIORITY, None),
        ({"priority": 1, "timeout": 1500}, 1, 0.0015),
        ({"priority": 7}, 7, None),
        ({"unit": "u-17", "binary_data_output": True}, DEFAULT_PRIORITY, None),
    ],
)
def test_the_schedule_policy_is_read(
    parameters: Mapping[str, Parameter], priority: int, timeout_s: float | None
) -> None:
    """0 stands for the default of either; other parameters are none of its business."""
    query = read(request(parameters=parameters))
    assert (query.priority, query.timeout_s) == (priority, timeout_s)


def test_classification_is_kept_with_its_output() -> None:
    """The parameter is checked here and answered later."""
    asked = outputs("logits", classification=2)
    assert read(request(outputs=asked)).outputs == asked


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((replace(IMAGE, name="images"),), r"takes exactly one of .*, got 'images'"),
        ((IMAGE, PIXELS), r"got 'image', 'pixels'"),
        ((replace(IMAGE, datatype="UINT8"),), "'image': datatype is UINT8, expected BYTES"),
        ((replace(IMAGE, shape=(1, 2)),), r"'image': shape is \[1, 2\], expected \[N\] or \[N,1\]"),
        ((replace(IMAGE, shape=(2, 1, 1)),), r"shape is \[2, 1, 1\]"),
        ((replace(IMAGE, shape=()),), r"shape is \[\], expected"),
        ((replace(IMAGE, shape=(0,), data=()),), r"'image': shape \[0\] holds no image"),
        ((replace(PIXELS, datatype="FP32"),), "'pixels': datatype is FP32, expected UINT8"),
        ((replace(PIXELS, shape=(2, 3, 1, 5)),), r"'pixels': shape is \[2, 3, 1, 5\], expected \[N,H,W,3\]"),
        ((replace(PIXELS, shape=(1, 10, 3)),), r"shape is \[1, 10, 3\]"),
        ((replace(PIXELS, shape=(2, 0, 5, 3), data=b""),), r"shape is \[2, 0, 5, 3\]"),
        ((replace(PIXELS, shape=(0, 1, 5, 3), data=b""),), "holds no image"),
        ((replace(FEATURES, datatype="FP64"),), "'input': datatype is FP64, expected FP32"),
        ((replace(FEATURES, shape=(1, 3, 2, 4)),), r"'input': shape is \[1, 3, 2, 4\], expected \[N,3,4,2\]"),
        ((replace(FEATURES, shape=(24,)),), r"shape is \[24\]"),
    ],
)
def test_a_wrong_input_is_named_with_its_value_and_the_rule(inputs: tuple[Tensor, ...], message: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(InvalidRequestError, match=message):
        read(request(*inputs))


def test_no_input_is_said() -> None:
    """A request without any names what could be given."""
    with pytest.raises(InvalidRequestError, match=r"takes exactly one of .*, got none"):
        read(replace(request(), inputs=()))


def test_too_many_images_are_too_large() -> None:
    """The limit is one more than may come."""
    tensor = replace(IMAGE, shape=(9,), data=(b"x",) * 9)
    with pytest.raises(TooLargeError, match="'image': 9 images in a request, at most 8 are allowed"):
        read(request(tensor))
    assert read(request(replace(tensor, shape=(8,), data=(b"x",) * 8))).items.count == 8


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (outputs("probability"), r"'probability' is not offered .* use one of probabilities, logits"),
        (outputs("label", "label"), "'label' is requested twice"),
        (outputs("label", classification=2), "classification is offered for probabilities and logits only"),
        (outputs("logits", classification=0), "classification is 0, expected a whole number above 0"),
        (outputs("logits", classification=-1), "classification is -1"),
        (outputs("logits", classification=True), "classification is True"),
        (outputs("logits", classification="2"), "classification is '2'"),
    ],
)
def test_a_wrong_output_is_named(asked: tuple[RequestedOutput, ...], message: str) -> None:
    """With its value and the rule."""
    with pytest.raises(InvalidRequestError, match=message):
        read(request(outputs=asked))


def test_a_plain_net_offers_no_gates() -> None:
    """The message says why."""
    with pytest.raises(InvalidRequestError, match=r"'attention' is not offered .* no channel gates"):
        read(request(outputs=outputs("attention")), PLAIN)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"partial": 1}, "parameter 'partial' is 1, expected true or false"),
        ({"partial": "true"}, "parameter 'partial' is 'true'"),
        ({"timeout": -1}, "parameter 'timeout' is -1, expected a whole number of microseconds"),
        ({"timeout": 1.5}, r"parameter 'timeout' is 1\.5"),
        ({"timeout": True}, "parameter 'timeout' is True"),
        ({"priority": -1}, "parameter 'priority' is -1, expected a whole number, 0 for the default"),
        ({"priority": "high"}, "parameter 'priority' is 'high'"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: Mapping[str, Parameter], message: str) -> None:
    """With its value and the rule."""
    with pytest.raises(InvalidRequestError, match=message):
        read(request(parameters=parameters))
