"""The handler as TorchServe calls it: batches in, one answer per row out, nobody pays for another's item."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from handlers.attn_net import Net, NetInput, NetOutput

if TYPE_CHECKING:
    from handlers.classify import Classifier
    from tests.handlers.conftest import Archive, Encode, FakeContext, Pack, TinyNet, Unpack

    Loaded = tuple[Classifier, FakeContext]

LABELS = ("black", "red", "green", "blue")
MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
EVERYTHING = ("probabilities", "logits", "attention")
DESCRIBE = {"attnserve": b'{"version": 1, "describe": true}'}


def _images(count: int) -> dict[str, object]:
    return {"kind": "image", "count": count}


def _normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    scaled = (pixels.astype(np.float64) / 255 - MEAN) / STD
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3), np.float32)


@pytest.fixture
def pictures() -> NDArray[np.uint8]:
    """Six different pictures of the net's own size, uint8 [6,16,16,3]."""
    return np.random.default_rng(7).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def test_answers_are_the_nets(
    loaded: Loaded, net: TinyNet, pack: Pack, unpack: Unpack, encode: Encode, pictures: NDArray[np.uint8]
) -> None:
    """Logits, softmax and gates of encoded images, pixels and inputs equal the eager net's."""
    classifier, context = loaded
    row = pack(
        [_images(2), {"kind": "input", "shape": [1, 3, 16, 16]}, {"kind": "pixels", "shape": [3, 16, 16, 3]}],
        [
            encode("PNG", Image.fromarray(pictures[0])),
            encode("PNG", Image.fromarray(pictures[1])),
            _normalised(pictures[2:3]).tobytes(),
            pictures[3:].tobytes(),
        ],
        outputs=EVERYTHING,
    )
    answer = unpack(classifier.handle([row], context)[0])
    with torch.inference_mode():
        logits, gates = net.explain(torch.from_numpy(_normalised(pictures)))
    assert answer.header["status"] == [0] * 6
    assert answer.header["messages"] == {}
    assert answer.header["device"] == "cpu"
    assert set(answer.header["timings_us"]) == {"decode", "inference", "encode"}
    assert all(type(value) is int and value >= 0 for value in answer.header["timings_us"].values())
    np.testing.assert_allclose(answer.arrays["logits"], logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(answer.arrays["probabilities"], torch.softmax(logits, 1).numpy(), atol=1e-5)
    np.testing.assert_allclose(answer.arrays["attention"], gates.numpy(), atol=1e-5)


def test_only_what_was_asked_for_is_answered_and_in_that_order(
    loaded: Loaded, pack: Pack, unpack: Unpack, encode: Encode
) -> None:
    """The header lists the outputs as the request did."""
    classifier, context = loaded
    for outputs in (["logits"], ["attention", "probabilities"]):
        row = pack([_images(1)], [encode("PNG", "red")], outputs=outputs)
        answer = unpack(classifier.handle([row], context)[0])
        assert [output["name"] for output in answer.header["outputs"]] == outputs


def test_a_bad_item_is_alone_in_its_failure(
    loaded: Loaded, pack: Pack, unpack: Unpack, encode: Encode, pictures: NDArray[np.uint8]
) -> None:
    """Its row is NaN with a code and a message; the others' numbers are what they are without it."""
    classifier, context = loaded
    good = [encode("PNG", Image.fromarray(picture)) for picture in pictures[:3]]
    bad = [good[0][:100], b"", b"text"]
    mixed = [bad[0], good[0], bad[1], good[1], good[2], bad[2]]
    answer = unpack(classifier.handle([pack([_images(6)], mixed, EVERYTHING)], context)[0])
    alone = unpack(classifier.handle([pack([_images(3)], good, EVERYTHING)], context)[0])
    assert answer.header["status"] == [3, 0, 3, 0, 0, 3]
    assert sorted(answer.header["messages"]) == ["0", "2", "5"]
    for name, array in answer.arrays.items():
        assert np.array_equal(array[[1, 3, 4]], alone.arrays[name])
        assert np.isnan(array[[0, 2, 5]]).all()


def test_a_batch_of_nothing_but_bad_items_is_answered(loaded: Loaded, pack: Pack, unpack: Unpack) -> None:
    """Without anything to compute there is still an answer."""
    classifier, context = loaded
    answer = unpack(classifier.handle([pack([_images(2)], [b"", b"x"], EVERYTHING)], context)[0])
    assert answer.header["status"] == [3, 3]
    assert {name: array.shape for name, array in answer.arrays.items()} == {
        "probabilities": (2, 4),
        "logits": (2, 4),
        "attention": (2, 2),
    }
    assert all(np.isnan(array).all() for array in answer.arrays.values())


@pytest.mark.parametrize(
    ("part", "blob", "words"),
    [
        ({"kind": "input", "shape": [1, 3, 8, 16]}, bytes(1536), "must have the shape [3, 16, 16] per item"),
        ({"kind": "input", "shape": [1, 3, 16, 16]}, np.full(768, np.nan, "<f4").tobytes(), "must be finite"),
        ({"kind": "input", "shape": [1, 3, 16, 16]}, np.full(768, np.inf, "<f4").tobytes(), "must be finite"),
        ({"kind": "input", "shape": [1, 3, 16, 16]}, np.full(768, 3e38, "<f4").tobytes(), "is not finite"),
    ],
)
def test_unusable_inputs_fail_alone(
    loaded: Loaded, pack: Pack, unpack: Unpack, part: dict[str, object], blob: bytes, words: str
) -> None:
    """Wrong size, NaN, infinity, finite values that overflow in the net: INVALID_ARGUMENT, this item only."""
    classifier, context = loaded
    fine = {"kind": "input", "shape": [1, 3, 16, 16]}
    answer = unpack(classifier.handle([pack([part, fine], [blob, bytes(3072)], ["logits"])], context)[0])
    assert answer.header["status"] == [3, 0]
    assert words in answer.header["messages"]["0"]
    assert np.isnan(answer.arrays["logits"][0]).all()
    assert np.isfinite(answer.arrays["logits"][1]).all()


def test_pixels_of_any_size_are_resized(loaded: Loaded, pack: Pack, unpack: Unpack, encode: Encode) -> None:
    """Raw pixels take the same way as an image that was decoded to them."""
    classifier, context = loaded
    wide = np.random.default_rng(1).integers(0, 256, (2, 10, 40, 3), dtype=np.uint8)
    tall = np.random.default_rng(2).integers(0, 256, (1, 33, 9, 3), dtype=np.uint8)
    pixels = pack(
        [{"kind": "pixels", "shape": list(wide.shape)}, {"kind": "pixels", "shape": list(tall.shape)}],
        [wide.tobytes(), tall.tobytes()],
    )
    images = pack([_images(3)], [encode("PNG", Image.fromarray(picture)) for picture in (*wide, *tall)])
    first, second = (unpack(answer) for answer in classifier.handle([pixels, images], context))
    assert np.array_equal(first.arrays["probabilities"], second.arrays["probabilities"])


def test_limits_are_the_archives(archive: Archive, pack: Pack, unpack: Unpack, encode: Encode) -> None:
    """What is too large is RESOURCE_EXHAUSTED, encoded or not."""
    classifier, context = archive.load(config={"handler": {"max_image_pixels": 100, "max_image_bytes": 5000}})
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    row = pack(
        [_images(3), {"kind": "pixels", "shape": [1, 10, 11, 3]}],
        [
            encode("PNG", "red", (11, 10)),
            encode("PNG", Image.fromarray(noise)),
            encode("PNG", "red", (9, 11)),
            bytes(330),
        ],
    )
    answer = unpack(classifier.handle([row], context)[0])
    assert answer.header["status"] == [8, 8, 0, 8]
    assert answer.header["messages"]["0"] == (
        "image: 11 x 10 pixels; at most 100 (max_image_pixels) are allowed"
    )
    assert "at most 5000 (max_image_bytes)" in answer.header["messages"]["1"]


def test_a_protocol_error_is_an_answer(loaded: Loaded, pack: Pack, unpack: Unpack) -> None:
    """A request that breaks the layout gets `error`, and its neighbours get their answers."""
    classifier, context = loaded
    good = pack([{"kind": "input", "shape": [1, 3, 16, 16]}], [bytes(3072)])
    broken, fine = classifier.handle([pack([_images(2)], [b"one"]), good], context)
    error = unpack(broken).header["error"]
    assert error["code"] == 3
    assert "blob '1' is missing" in error["message"]
    assert unpack(fine).header["status"] == [0]


def test_describe_gives_the_card(archive: Archive, loaded: Loaded, unpack: Unpack) -> None:
    """The whole signature.json, and the digest that `sha256sum SHA256SUMS` gives."""
    classifier, context = loaded
    card = unpack(classifier.handle([DESCRIBE], context)[0]).header["describe"]
    assert card.pop("decoder") in {"pillow", "simplejpeg"}
    assert card == {
        "signature": archive.signature,
        "contents_sha256": archive.contents_sha256,
        "device": "cpu",
        "recipe": "portable",
        "recipe_reasons": [],
        "handler": "1",
    }


def test_attention_is_refused_where_there_is_none(archive: Archive, pack: Pack, unpack: Unpack) -> None:
    """A net without gates says so."""
    archive.rewrite(attention_layout=[])
    classifier, context = archive.load()
    header = unpack(classifier.handle([pack([_images(1)], [b""], ["attention"])], context)[0]).header
    assert header["error"]["message"].startswith("outputs: 'attention' is not offered by this model")


def test_rows_of_all_kinds_share_a_forward_pass(
    loaded: Loaded, pack: Pack, unpack: Unpack, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed, stock, describe and bad rows in one batch: one forward pass, each row its own answer."""
    classifier, context = loaded
    red, blue = encode("PNG", "red"), encode("PNG", "blue")
    sizes: list[int] = []
    run = Net.run

    def counted(net: Net, batches: Iterable[NetInput], *, explain: bool) -> NetOutput | None:
        batches = list(batches)
        sizes.extend(len(batch) for batch in batches)
        return run(net, batches, explain=explain)

    monkeypatch.setattr(Net, "run", counted)
    rows = [
        pack([_images(2)], [red, b"bad"]),
        {"body": blue},
        DESCRIBE,
        {"body": b"bad"},
        pack([_images(1)], [blue]),
    ]
    first, stock, card, bad, last = classifier.handle(rows, context)
    assert sizes == [3]
    assert unpack(first).header["status"] == [0, 3]
    assert unpack(card).header["describe"]["handler"] == "1"
    assert "error" in json.loads(bad)
    of_blue = dict(zip(LABELS, unpack(last).arrays["probabilities"][0].tolist(), strict=True))
    assert json.loads(stock)["probabilities"] == of_blue


def test_batches_larger_than_the_largest_bucket_are_split(loaded: Loaded, pack: Pack, unpack: Unpack) -> None:
    """Eleven items through buckets of at most four give what they give one by one."""
    classifier, context = loaded
    x = np.random.default_rng(3).normal(size=(11, 3, 16, 16)).astype("<f4")
    whole = pack([{"kind": "input", "shape": list(x.shape)}], [x.tobytes()], EVERYTHING)
    single = [pack([{"kind": "input", "shape": [1, 3, 16, 16]}], [item.tobytes()], EVERYTHING) for item in x]
    together = unpack(classifier.handle([whole], context)[0])
    apart = [unpack(classifier.handle([row], context)[0]) for row in single]
    for name, array in together.arrays.items():
        np.testing.assert_allclose(array, np.concatenate([one.arrays[name] for one in apart]), atol=1e-6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["body", "data", "0", "1", "attnserve"]), st.binary(max_size=40), max_size=3
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_rows_are_answered_with_bytes(loaded: Loaded, rows: list[dict[str, bytes]]) -> None:
    """Whatever TorchServe passes on, there is one answer in bytes per row, and no exception."""
    classifier, context = loaded
    answers = classifier.handle(rows, context)
    assert [type(answer) for answer in answers] == [bytes] * len(rows)


def test_run_gives_what_handle_answers(
    loaded: Loaded, pack: Pack, unpack: Unpack, encode: Encode, pictures: NDArray[np.uint8]
) -> None:
    """Without TorchServe's frame around it the same items give the same numbers and failures, and timings."""
    classifier, context = loaded
    blob = encode("PNG", Image.fromarray(pictures[0]))
    row = pack(
        [_images(2), {"kind": "pixels", "shape": [1, 16, 16, 3]}],
        [blob, b"bad", pictures[1].tobytes()],
        EVERYTHING,
    )
    answer = unpack(classifier.handle([row], context)[0])
    run = classifier.run([blob, b"bad", pictures[1]], explain=True)
    assert set(run.results.arrays) == set(EVERYTHING)
    for name, array in run.results.arrays.items():
        np.testing.assert_array_equal(array, answer.arrays[name])
    assert {str(number): str(why) for number, why in run.results.failures.items()} == answer.header[
        "messages"
    ]
    assert run.decode_us > 0
    assert run.inference_us > 0


def test_run_leaves_the_gates_out_unless_asked(loaded: Loaded, encode: Encode) -> None:
    """And of no items it makes empty arrays."""
    classifier, _ = loaded
    assert set(classifier.run([encode("PNG", "red")], explain=False).results.arrays) == {
        "logits",
        "probabilities",
    }
    empty = classifier.run([], explain=True).results.arrays
    assert {name: array.shape for name, array in empty.items()} == {
        "logits": (0, 4),
        "probabilities": (0, 4),
        "attention": (0, 2),
    }
