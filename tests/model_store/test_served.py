"""An archive served in this process: by its own handler, verified first, and without traces afterwards."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from handlers.classify import Classifier
from model_store.errors import ArchiveError, InputError
from model_store.served import ServedArchive
from tests.handlers.conftest import FakeContext
from tests.model_store.colours import (
    COLOURS,
    LABELS,
    entries,
    expected_logits,
    picture,
    rewrite,
    write_colours,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, which no test changes."""
    return write_colours(tmp_path_factory.mktemp("built"))


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may change, listed nowhere."""
    path = tmp_path / built.name
    path.write_bytes(built.read_bytes())
    return path


def test_the_answers_are_those_of_the_formula(built: Path) -> None:
    """Logits, softmax and gates of each colour are what plain numpy computes from it."""
    files = [picture("red"), picture("white", "BMP"), picture((51, 102, 204), "WEBP", lossless=True)]
    with ServedArchive(built) as served:
        found = served.run(files, explain=True)
    colours = (COLOURS["red"], COLOURS["white"], (51, 102, 204))
    logits = np.stack([expected_logits(colour) for colour in colours])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.logits, logits, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, shares, atol=1e-6)
    assert found.gates is not None
    np.testing.assert_allclose(found.gates, np.array(colours) / 255, atol=1e-6)
    assert found.failures == {}
    assert (found.decode_us > 0, found.inference_us > 0) == (True, True)


def test_a_worker_answers_the_same(built: Path, tmp_path: Path) -> None:
    """TorchServe's way in, `handle`, gives a stock client exactly these probabilities."""
    for name, data in entries(built).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    context = FakeContext(system_properties={"model_dir": str(tmp_path), "gpu_id": None})
    worker = Classifier()
    with ServedArchive(built) as served:  # restores what the worker does to this process
        levels = {name: logging.getLogger(name).level for name in ("", "ts.metrics.caching_metric")}
        threads = torch.get_num_threads()
        worker.initialize(context)
        torch.set_num_threads(threads)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        found = served.run([picture((200, 60, 10))])
    (answer,) = worker.handle([{"body": picture((200, 60, 10))}], context)
    ranked = json.loads(answer)["probabilities"]
    assert len(ranked) == 5
    for label, probability in ranked.items():
        assert probability == float(found.probabilities[0, LABELS.index(label)])


def test_an_image_fails_alone(built: Path) -> None:
    """Its row is NaN and its reason is told; the others are as without it."""
    with ServedArchive(built) as served:
        found = served.run([b"no image", picture("blue"), b""])
        alone = served.run([picture("blue")])
    assert sorted(found.failures) == [0, 2]
    assert "no known image format" in found.failures[0]
    assert np.isnan(found.probabilities[[0, 2]]).all()
    assert np.array_equal(found.probabilities[1:2], alone.probabilities)
    assert found.gates is None


def test_archives_with_different_handlers_are_open_together(built: Path, copy: Path) -> None:
    """Each is answered by the code that it brought along."""
    source = entries(copy)["attn_handlers/attn_preprocess.py"]
    darker = source.replace(b"div_(255)", b"div_(510)")
    version = entries(copy)["attn_handlers/classify.py"].replace(b'Final = "1"', b'Final = "other"')
    assert darker != source, "the handler normalises in another way now: change the replacement"
    rewrite(copy, {"attn_handlers/attn_preprocess.py": darker, "attn_handlers/classify.py": version})
    with ServedArchive(built) as ours, ServedArchive(copy) as theirs:
        assert (ours.handler_version, theirs.handler_version) == ("1", "other")
        bright = ours.run([picture("white")]).logits[0]
        dark = theirs.run([picture("white")]).logits[0]
        again = ours.run([picture("white")]).logits[0]
    np.testing.assert_allclose(bright, expected_logits((255, 255, 255)), atol=1e-6)
    np.testing.assert_allclose(dark, np.zeros(8), atol=1e-6)  # half as bright: the middle of all corners
    assert np.array_equal(bright, again)


def test_nothing_is_left_behind(built: Path) -> None:
    """Modules, files, threads, torch's thread count and the levels of logging are as they were."""

    def state() -> tuple[object, ...]:
        levels = [logging.getLogger(name).level for name in ("", "ts.metrics.caching_metric")]
        folders = sorted(Path(tempfile.gettempdir()).glob("attnserve-*"))
        own = sorted(name for name in sys.modules if "attn_handlers" in name)
        return levels, torch.get_num_threads(), folders, own

    before = state()
    with ServedArchive(built) as served:
        served.run([picture("red")] * 3)
        assert state()[2:] != before[2:]
        assert state()[:2] == before[:2]
    assert state() == before
    served.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_damaged_archive_is_refused_before_its_code_runs(copy: Path) -> None:
    """What was altered is named; code in it that would fail loudly never does."""
    inner = entries(copy) | {"attn_handlers/classify.py": b"raise SystemExit"}
    with zipfile.ZipFile(copy, "w") as file:
        for name, data in inner.items():
            file.writestr(name, data)
    with pytest.raises(ArchiveError, match=r"is damaged: attn_handlers/classify.py is altered"):
        ServedArchive(copy)


def test_an_archive_that_its_list_disowns_is_refused(copy: Path) -> None:
    """The SHA256SUMS beside it speaks of another file."""
    copy.with_name("SHA256SUMS").write_text(f"{'0' * 64}  {copy.name}\n")
    with pytest.raises(ArchiveError, match="its sha256 differs from the SHA256SUMS beside it"):
        ServedArchive(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_handlers/classify.py": b"class Classifier: ..."}, "its handler is older than this command"),
        ({"attn_handlers/classify.py": b"import nowhere"}, "its handler cannot be imported: No module named"),
        ({"attn_handlers/__init__.py": None}, "lacks attn_handlers"),
        ({"model.pt": b"no net"}, "cannot be served here: model.pt: torch cannot load it"),
    ],
)
def test_an_archive_that_cannot_be_served_says_why(
    copy: Path, changes: dict[str, bytes | None], message: str
) -> None:
    """One line, and no module of it stays imported."""
    rewrite(copy, changes)
    with pytest.raises(ArchiveError, match=message):
        ServedArchive(copy)
    assert not [name for name in sys.modules if "attn_handlers" in name]


def test_gates_are_refused_where_there_are_none(tmp_path: Path) -> None:
    """A net without attention classifies, but cannot explain."""
    with ServedArchive(write_colours(tmp_path, gated=False)) as served:
        assert served.run([picture("red")]).failures == {}
        with pytest.raises(InputError, match="explain: 'colours' has no channel gates"):
            served.run([picture("red")], explain=True)


def test_a_gpu_that_is_not_there_is_refused(built: Path) -> None:
    """Never a silent fall-back to the CPU."""
    with pytest.raises(InputError, match=r"gpu: 4711 must be the number of a CUDA device, from 0"):
        ServedArchive(built, gpu=4711)
