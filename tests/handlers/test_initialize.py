"""Loading an archive: what is served has been verified, or is not served, and the message says why."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handlers.classify import Classifier

if TYPE_CHECKING:
    from tests.handlers.conftest import Archive

SCHEMA = Path(__file__).parents[1] / "contract" / "signature.schema.json"
REQUIRED = (
    "name",
    "version",
    "input",
    "dtype",
    "labels",
    "attention_layout",
    "batch_buckets",
    "threads",
    "parity",
)


def _refusal(archive: Archive, config: dict[str, object] | None = None) -> str:
    with pytest.raises(RuntimeError) as refused:
        archive.load(gpu_id=0, config=config)
    return str(refused.value)


def _save(archive: Archive, name: str, module: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit's own notice
        scripted = torch.jit.script(module)
        torch.jit.save(scripted, archive.folder / name)
    archive.seal()


class Gates(nn.Module):
    """What explain.pt holds: a whole net that also returns its gates."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [N,4] and gates [N,columns]."""
        return x.new_zeros(x.shape[0], 4), x.new_ones(x.shape[0], self.columns)


class Pair(nn.Module):
    """Returns what no classifier returns."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The input, twice."""
        return x, x


@pytest.mark.parametrize("name", ["model.pt", "signature.json", "parity.npz"])
def test_a_changed_file_is_named(archive: Archive, name: str) -> None:
    """One byte more, and the archive is refused with the file's name and both digests."""
    path = archive.folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert _refusal(archive).startswith(f"{name}: its sha256 is ")


def test_a_missing_file_is_named(archive: Archive) -> None:
    """A file that is listed must be there."""
    (archive.folder / "parity.npz").unlink()
    assert "parity.npz: listed in SHA256SUMS, but cannot be read" in _refusal(archive)


def test_a_net_that_is_not_listed_is_refused(archive: Archive) -> None:
    """What SHA256SUMS says nothing of would be loaded without a check."""
    (archive.folder / "model.more.pt").write_bytes(b"")
    assert _refusal(archive) == "model.more.pt: SHA256SUMS does not list it"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "SHA256SUMS: lists no file"),
        ("nonsense\n", "each line must be '<sha256>  <name>', got 'nonsense'"),
        ("0  ../../etc/passwd\n", "'../../etc/passwd' lies outside the archive"),
    ],
)
def test_a_list_that_is_none_is_refused(archive: Archive, text: str, words: str) -> None:
    """SHA256SUMS itself is checked, and cannot point outside."""
    (archive.folder / "SHA256SUMS").write_text(text)
    assert words in _refusal(archive)


def test_an_archive_without_sums_is_refused(archive: Archive) -> None:
    """Nothing unverified is loaded."""
    (archive.folder / "SHA256SUMS").unlink()
    assert "SHA256SUMS: cannot be read" in _refusal(archive)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(archive: Archive, key: str) -> None:
    """Each key that serving needs is asked for by name."""
    document = archive.signature
    del document[key]
    archive.write(document)
    message = _refusal(archive)
    assert message.startswith("signature.json: the key ")
    assert f"'{key}" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": "abc"}, "labels: must be a list, got 'abc'"),
        ({"name": 5}, "name: must be text, got 5"),
        ({"threads": 0}, "threads: must be null or an integer of at least 1, got 0"),
        ({"labels": ["a", "b"]}, "4 logits for 2 labels"),
        ({"attention_layout": [{"block": "gate", "channels": 3, "branches": 2}]}, "2 gates for 6 columns"),
        ({"attention_layout": [{"block": "gate", "channels": 3}]}, "the key 'attention_layout[].branches'"),
        ({"dtype": {"cpu": "float32", "cuda": "int8"}}, "dtype.cuda: must be one of"),
        ({"batch_buckets": []}, "batch_buckets: must be"),
        ({"batch_buckets": [0, 1]}, "batch_buckets: must be"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(
    archive: Archive, changes: dict[str, object], words: str
) -> None:
    """Values are checked, also against the net."""
    archive.rewrite(**changes)
    assert words in _refusal(archive)


def test_a_signature_that_is_no_json_is_refused(archive: Archive) -> None:
    """NaN included: the gateway could not read the card."""
    for text in ("{", '{"name": NaN}', "[]", "[" * 100_000):
        (archive.folder / "signature.json").write_text(text)
        archive.seal()
        assert _refusal(archive).startswith("signature.json: ")


def test_a_net_that_computes_otherwise_is_refused_with_the_figure(archive: Archive) -> None:
    """The archive's own samples are computed before the first request."""
    with np.load(archive.folder / "parity.npz") as file:
        np.savez(archive.folder / "parity.npz", input=file["input"], logits=file["logits"] * 1.01)
    archive.seal()
    message = _refusal(archive)
    assert "parity.npz: on this machine the net's logits differ by 0.0099" in message
    assert "at most 0.0001 (parity.tolerance)" in message


@pytest.mark.parametrize("content", [b"", b"not numpy"])
def test_unreadable_samples_are_refused(archive: Archive, content: bytes) -> None:
    """parity.npz must be what it says."""
    (archive.folder / "parity.npz").write_bytes(content)
    archive.seal()
    assert "parity.npz: cannot be read" in _refusal(archive)


def test_a_model_that_is_no_torchscript_is_refused(archive: Archive) -> None:
    """The message names the file."""
    (archive.folder / "model.pt").write_bytes(b"not a zip")
    archive.seal()
    assert "model.pt: torch cannot load it" in _refusal(archive)


def test_a_net_with_other_outputs_is_refused(archive: Archive) -> None:
    """A net must return one tensor."""
    _save(archive, "model.pt", Pair())
    archive.rewrite(attention_layout=[])
    assert "the archive cannot be loaded" in _refusal(archive)


def test_a_layout_needs_a_net_that_explains(archive: Archive) -> None:
    """An archive that promises gates must have them."""
    _save(archive, "model.pt", nn.Sequential(nn.Flatten(), nn.Linear(768, 4)))
    assert "signature.json has an attention_layout, but the net has no method `explain`" in _refusal(archive)


def test_gates_may_come_from_a_file_of_their_own(archive: Archive) -> None:
    """explain.pt is used when it is there, and held to the layout too."""
    _save(archive, "explain.pt", Gates(2))
    archive.load()
    _save(archive, "explain.pt", Gates(5))
    assert "5 gates for 2 columns" in _refusal(archive)


@pytest.mark.parametrize("how", ["configuration", "environment"])
def test_a_gpu_that_was_asked_for_must_be_there(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No silent fall-back to the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config: dict[str, object] = {"deviceType": "gpu"} if how == "configuration" else {}
    monkeypatch.setenv("ATTNSERVE_REQUIRE_GPU", "1" if how == "environment" else "0")
    assert "a GPU was asked for" in _refusal(archive, config)


def test_an_assigned_gpu_that_torch_cannot_use_is_logged(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody asked for the GPU by name, so the CPU serves, and the log says so."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    archive.load(gpu_id=1)
    assert "TorchServe assigned GPU 1, but this torch sees no CUDA device: using the CPU" in caplog.text


def test_wrong_limits_in_the_configuration_are_refused(archive: Archive) -> None:
    """The `handler:` block is checked when the model is loaded."""
    assert "max_image_bytes: must be" in _refusal(archive, {"handler": {"max_image_bytes": 0}})


def test_the_archives_threads_are_used(archive: Archive) -> None:
    """`threads` is the forward pass's."""
    before = torch.get_num_threads()
    try:
        archive.rewrite(threads=1)
        archive.load()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_tiny_archive_is_a_valid_one(archive: Archive) -> None:
    """What these tests load is what signature.schema.json describes, so that other archives load as well."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(archive.signature)
    assert set(REQUIRED) < set(schema["required"])


def test_the_handler_module_defines_one_class() -> None:
    """TorchServe takes the only class that a handler's module defines."""
    assert Classifier.__module__ == "handlers.classify"
    module = __import__("handlers.classify", fromlist=["classify"])
    own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    assert [value for value in own if isinstance(value, type)] == [Classifier]


def test_lines_per_request_are_silenced_and_what_counts_is_not(archive: Archive) -> None:
    """The root logger, which writes a line for each request, is quiet; ours and the metrics are not."""
    logging.getLogger().setLevel(logging.INFO)
    archive.load()
    assert not logging.getLogger("ts.protocol.otf_message_handler").isEnabledFor(logging.INFO)
    assert logging.getLogger("ts.metrics.caching_metric").isEnabledFor(logging.INFO)
    assert logging.getLogger("handlers.classify").isEnabledFor(logging.INFO)
