"""Every net of the zoo in a stock TorchServe: its archive loads there and answers as the eager net does."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model_store import zoo
from model_store.build import input_recipe
from model_store.pack import pack, write_archive
from model_store.script import ExportedNet, export
from model_store.signature import Identity, Signature
from model_store.sums import sha256
from model_store.threads import cpu_threads
from tests.e2e.stock import StockTorchServe, stock_torchserve
from tests.rows import lively

# Of each family and attention that the demo's nets do not have a quick one.
SMALL = ("eca_resnet18", "sknet26", "se_mobilenet_v2", "se_bn_inception", "cbam_resnet50", "bam_resnet50")
LOADING_TIMEOUT_S = 300.0
TOP = 5
SEED = 2
PATIENT = pytest.mark.timeout(600, func_only=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty model store."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def empty_torchserve(store: Path) -> Iterator[StockTorchServe]:
    """A stock TorchServe of that store, without any model."""
    with stock_torchserve(store) as running:
        yield running


@PATIENT
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", zoo.TABLE)
def test_every_row(name: str, store: Path, empty_torchserve: StockTorchServe) -> None:
    """As documented, with all its classes."""
    require_served_as_eager(zoo.get(name), store, empty_torchserve)


@PATIENT
@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_small_rows(name: str, store: Path, empty_torchserve: StockTorchServe) -> None:
    """A small one of each family."""
    require_served_as_eager(zoo.get(name), store, empty_torchserve)


def require_served_as_eager(row: zoo.Row, store: Path, torchserve: StockTorchServe) -> None:
    """Load a row's archive, classify one picture, and compare with what the eager net says of it.

    If no logit is off by more than `tolerance` times the largest one, no probability's logarithm is off by
    more than twice that: once for its own logit, and once for the sum that all are divided by.
    """
    picture = _picture(row.recipe)
    with cpu_threads(1):
        net = lively(row)
        with torch.inference_mode():
            logits = net(_input(row.recipe, picture))[0]
    exported = export(net, input_size=row.recipe.input_size)
    with _registered(_archived(row, exported, store), torchserve):
        answer = _predicted(row.name, picture, torchserve)
    log_probabilities = logits.log_softmax(0).numpy()
    slack = 2 * exported.parity.tolerance * float(logits.abs().max()) + 1e-5
    labels, probabilities = zip(*answer["probabilities"].items(), strict=True)
    assert answer["label"] == labels[0]
    found = np.log(probabilities)
    np.testing.assert_allclose(found, log_probabilities[list(map(int, labels))], rtol=0, atol=slack)
    best = np.sort(log_probabilities)[::-1][:TOP]
    np.testing.assert_allclose(found, best, rtol=0, atol=slack)


def _picture(recipe: zoo.Recipe) -> NDArray[np.uint8]:
    """A picture [H,W,3] of the size to which it would be resized: its pixels are the input's, but for a crop.

    Coarse squares of random colours, which differ more in their means than noise does.
    """
    height, width = recipe.resize_size
    squares = np.random.default_rng(SEED).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return squares[rows][:, columns]


def _input(recipe: zoo.Recipe, picture: NDArray[np.uint8]) -> torch.Tensor:
    """What the net is to see of it, float32 [1,3,H,W]: the centre, normalised."""
    height, width = recipe.input_size
    above, left = (recipe.resize_size[0] - height) // 2, (recipe.resize_size[1] - width) // 2
    centre = picture[above : above + height, left : left + width]
    normalised = (centre / 255 - np.array(recipe.mean)) / np.array(recipe.std)
    return torch.from_numpy(normalised.transpose(2, 0, 1)[None].astype(np.float32))


def _archived(row: zoo.Row, exported: ExportedNet, store: Path) -> Path:
    """Its archive. Other batch sizes to warm up, and more threads, would take long and show nothing here."""
    signature = Signature(
        identity=Identity(
            name=row.name,
            version="1",
            architecture=row.name,
            family=row.family,
            attention=row.attention,
            trained=False,
        ),
        recipe=input_recipe(row.recipe),
        labels=tuple(map(str, range(row.classes))),
        attention_layout=exported.attention_layout,
        weights_sha256=sha256(exported.model),
        parity=exported.parity,
        batch_buckets=(1,),
        threads=1,
    )
    return write_archive(store, pack(signature, exported))


@contextmanager
def _registered(archive: Path, torchserve: StockTorchServe) -> Iterator[None]:
    """An archive while it is loaded; neither the model nor its file is there afterwards."""
    with httpx.Client(base_url=torchserve.management, timeout=LOADING_TIMEOUT_S, trust_env=False) as client:
        wanted = {"url": archive.name, "initial_workers": "1", "synchronous": "true"}
        try:
            loaded = client.post("/models", params=wanted)
            assert loaded.is_success, f"{loaded.text}\n{torchserve.log.read_text()[-4000:]}"
            yield
        finally:
            client.delete(f"/models/{archive.stem}")
            archive.unlink()


def _predicted(name: str, picture: NDArray[np.uint8], torchserve: StockTorchServe) -> dict[str, Any]:
    """The JSON that a stock client gets for a picture."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    answer = httpx.put(
        f"{torchserve.inference}/predictions/{name}", content=file.getvalue(), timeout=60, trust_env=False
    )
    assert answer.is_success, answer.text
    document: dict[str, Any] = answer.json()
    return document
