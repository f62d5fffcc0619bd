"""Training on the digits: a fair split, the serving recipe, honest figures."""

import io
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from handlers import attn_preprocess
from model_store import zoo
from model_store.build import input_recipe
from model_store.digits import Digits, load_split, render, to_inputs, write_samples
from model_store.errors import InputError, TrainingError
from model_store.signature import InputRecipe, Resize
from model_store.train import Report, Schedule, confusion_matrix, train

Trained: TypeAlias = tuple[torch.nn.Module, Report, list[tuple[int, float]]]
ROW = zoo.get("digits_se")
RECIPE = input_recipe(ROW.recipe)


@pytest.fixture(scope="module")
def split() -> Digits:
    """The split, rendered once."""
    return load_split()


@pytest.fixture(scope="module")
def trained(split: Digits) -> Trained:
    """digits_se as the demo trains it, with what was told on the way."""
    told: list[tuple[int, float]] = []
    state = torch.random.get_rng_state()
    net, report = train(
        lambda: ROW.build(10), RECIPE, split, on_epoch=lambda epoch, accuracy: told.append((epoch, accuracy))
    )
    assert torch.equal(state, torch.random.get_rng_state()), "training must leave the caller's random state"
    return net, report, told


def test_the_split_is_disjoint_stratified_and_always_the_same(split: Digits) -> None:
    """All 1,797 scans are used once, each part has every digit in proportion, and a second call agrees."""
    parts = (split.training, split.validation, split.held_out)
    assert [len(part) for part in parts] == [1077, 180, 540]
    everything = np.concatenate([part.pixels for part in parts]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == len(np.unique(_all_pictures(), axis=0))
    for part in parts:
        shares = np.bincount(part.labels, minlength=10) / len(part)
        assert shares.min() > 0.09
        assert shares.max() < 0.11
    np.testing.assert_array_equal(split.held_out.pixels, load_split().held_out.pixels)


def _all_pictures() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    scans = load_digits().images
    return np.stack([render(scan) for scan in scans]).reshape(len(scans), -1)


def test_a_rendered_digit_is_what_its_scan_says() -> None:
    """Grey, four times enlarged, 0 stays black and 16 becomes white."""
    scan = np.zeros((8, 8))
    scan[:, 4:] = 16
    picture = render(scan)
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    assert (picture[:, :14] == 0).all()
    assert (picture[:, 18:] == 255).all()
    assert (picture[..., 0] == picture[..., 2]).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_training_sees_what_serving_sees(split: Digits, interpolation: str) -> None:
    """The handlers turn a sample's PNG file into the very numbers that the net was trained on."""
    resize = Resize(method="stretch", size=(16, 16), interpolation=interpolation)  # type: ignore[arg-type] # a str
    recipe = InputRecipe(size=(16, 16), resize=resize, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    served = attn_preprocess.Recipe(
        size=recipe.size,
        method="stretch",
        resize=resize.size,
        interpolation=interpolation,
        mean=recipe.mean,
        std=recipe.std,
    )
    file = io.BytesIO()
    Image.fromarray(split.held_out.pixels[0]).save(file, "PNG")
    with Image.open(file) as image:
        pixels = torch.from_numpy(np.asarray(attn_preprocess.fit(image.convert("RGB"), served)).copy())
    expected = attn_preprocess.normalise(pixels[None], recipe.mean, recipe.std)
    torch.testing.assert_close(to_inputs(split.held_out.pixels[:1], recipe), expected, rtol=0, atol=1e-6)


def test_a_cropping_recipe_is_refused_for_the_digits(split: Digits) -> None:
    """The digits fill their picture; a crop would cut them."""
    resize = Resize(method="shorter_side", size=(20, 20), interpolation="bilinear")
    recipe = InputRecipe(size=(16, 16), resize=resize, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(InputError, match=r"input.resize.size: \(20, 20\) must equal input.size \(16, 16\)"):
        to_inputs(split.held_out.pixels[:1], recipe)


def test_a_digits_net_reaches_the_required_accuracy(
    trained: Trained,
) -> None:
    """97.5 % of digits that it has never seen, by the weights of one of its epochs."""
    _, report, told = trained
    assert report.accuracy >= 0.975
    assert report.accuracy_interval_95[0] < report.accuracy < report.accuracy_interval_95[1]
    assert [epoch for epoch, _ in told] == list(range(1, report.epochs + 1))
    assert report.validation_accuracy == dict(told)[report.best_epoch]


def test_the_report_is_of_the_net_that_is_returned(trained: Trained, split: Digits) -> None:
    """Running the net on the held-out part again gives the reported matrix and accuracy."""
    net, report, _ = trained
    matrix = np.array(report.confusion)
    np.testing.assert_array_equal(matrix, confusion_matrix(net, RECIPE, split.held_out))
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(split.held_out.labels))
    assert report.accuracy == matrix.trace() / 540
    assert not net.training


def test_a_net_that_stays_below_is_refused_with_the_figure(split: Digits) -> None:
    """Without learning nothing is packaged; the same seed fails in the same way."""
    messages = set()
    for _ in range(2):
        with pytest.raises(
            TrainingError, match=r"held-out accuracy \d+\.\d+% \(\d+ of 540\) is below 97\.5%"
        ) as caught:
            train(lambda: ROW.build(10), RECIPE, split, schedule=Schedule(epochs=1, peak_rate=1e-3))
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_samples_are_held_out_pictures_of_every_digit(tmp_path: Path, split: Digits) -> None:
    """Thirty PNG files, named after their digit, each found in the held-out part under that label."""
    written = write_samples(tmp_path / "samples")
    assert len(written) == 30
    assert sorted({path.name for path in written}) == sorted(
        f"{digit}-{number}.png" for digit in range(10) for number in (1, 2, 3)
    )
    for path in written:
        with Image.open(path) as image:
            pixels = np.asarray(image)
        same = (split.held_out.pixels == pixels).all(axis=(1, 2, 3))
        assert split.held_out.labels[same].tolist() == [int(path.name[0])]
