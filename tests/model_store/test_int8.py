"""The quantised form of a net: bytes stand for what they should, and the classes stay."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from handlers.attn_preprocess import Recipe, fit
from model_store import digits, tuning, zoo
from model_store.build import Architecture, Order, ReadyNet, build_untrained, input_recipe, pack_net
from model_store.calibration import read_samples
from model_store.errors import CalibrationError, InputError
from model_store.fuse.convolution import Convolution
from model_store.int8 import AGREEMENT, FEWEST, Samples, quantised
from model_store.int8.convolution import ByteConvolution, ByteSum, ByteWeights
from model_store.int8.export import agreement, calibrated
from model_store.int8.ranges import Range, quantised_weight
from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.se import SqueezeExcitation
from model_store.options import Recipes, ServingOptions
from model_store.pack import write_archive
from model_store.recipe_table import BYTES_TOLERANCE
from model_store.recipes import Choice
from model_store.script import load, quiet_jit
from model_store.served import ServedArchive
from model_store.signature import InputRecipe, Resize
from model_store.torchscript_bytes import to_bytes
from model_store.train import train
from tests.model_store.test_fuse import drawn, gated

pytestmark = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported(),  # noqa: SLF001 # torch offers no public way
    reason="without avx512_vnni oneDNN's sums of byte products saturate",
)
SIZE = (16, 16)
GIVEN, RESIDUAL, RESULT = (Range(scale=0.02, zero=7), Range(scale=0.03, zero=100), Range(scale=0.05, zero=60))


def noise(count: int, seed: int = 0) -> Tensor:
    """Random images [count, 3, H, W]."""
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def some_bytes(*shape: int) -> Tensor:
    """Random bytes [N, C, H, W], channels_last."""
    found = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return found.contiguous(memory_format=torch.channels_last)


def real(values: Tensor, given_range: Range) -> Tensor:
    """What bytes stand for, by equation 1 of Jacob et al. 2018."""
    return given_range.scale * (values.double() - given_range.zero)


def a_convolution(inputs: int, outputs: int, side: int, activation: str = "none") -> Convolution:
    """A fused convolution with random weights."""
    torch.manual_seed(side)
    conv = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    return Convolution(conv, activation, [], [1, inputs, 8, 8], torch.float32)


def exact(weights: ByteWeights, features: Tensor) -> Tensor:
    """The same convolution of the numbers that the bytes stand for, in FP64."""
    whole = weights.packed.to_dense().double() * weights.scales.double().reshape(-1, 1, 1, 1)
    bias = weights.bias.double()
    return nn.functional.conv2d(real(features, GIVEN), whole, bias, padding=weights.padding)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0, 1))
def test_a_range_holds_its_numbers_to_a_step(one: float, other: float, share: float) -> None:
    """Any number within is a step or less from its byte (Jacob et al. 2018, equation 1); zero is a byte."""
    low, high = sorted((one, other))
    found = Range.of(low, high)
    assert 0 <= found.zero <= 255
    number = low + share * (high - low)
    byte = min(max(round(number / found.scale) + found.zero, 0), 255)
    # The zero point is whole, so that the ends of the range may be half a step further away.
    assert abs(found.scale * (byte - found.zero) - number) <= found.scale * 1.001


def test_weights_have_a_scale_for_each_output_channel() -> None:
    """A channel of small weights keeps its 7 bits beside one of large weights."""
    weight = torch.randn(4, 8, 3, 3) * torch.tensor([1e-3, 1.0, 10.0, 0.0]).reshape(-1, 1, 1, 1)
    whole, scales = quantised_weight(weight)
    np.testing.assert_allclose(scales[:3], np.abs(weight[:3].numpy()).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert whole.dtype == torch.int8
    error = (whole * scales.reshape(-1, 1, 1, 1) - weight).abs().amax(dim=(1, 2, 3))
    assert bool((error <= scales * 0.501).all())


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_a_convolution_of_bytes_is_exact_but_for_its_last_rounding(activation: str) -> None:
    """Against FP64 on the numbers that the bytes stand for; also after the file was read again."""
    conv = a_convolution(16, 8, 3, activation)
    layer = ByteConvolution(ByteWeights(conv, GIVEN), conv, RESULT)
    features = some_bytes(3, 16, 8, 8)
    wanted = exact(layer.weights, features)
    wanted = wanted.clamp_min(0) if activation == "relu" else wanted
    wanted = wanted.clamp(*(float(real(torch.tensor(end), RESULT)) for end in (0, 255)))
    with quiet_jit():
        loaded = load(to_bytes(torch.jit.script(layer)))
    for form in (layer, loaded):
        found = form(features)
        assert found.dtype == torch.uint8
        assert float((real(found, RESULT) - wanted).abs().max()) <= RESULT.scale * 0.51


def test_gates_in_the_scales_give_each_image_its_own_sum() -> None:
    """relu(r + s * (W x + b)), with other gates for each image, to half a step of FP64; r stays as it was."""
    conv, gates = a_convolution(16, 8, 1), torch.rand(3, 8)
    layer = ByteSum(ByteWeights(conv, GIVEN), nn.Identity(), "relu", RESIDUAL, RESULT)
    features, residual = some_bytes(3, 16, 8, 8), some_bytes(3, 8, 8, 8)
    before = residual.clone()
    wanted = real(residual, RESIDUAL) + gates.double()[:, :, None, None] * exact(layer.weights, features)
    found = real(layer(residual, features, gates), RESULT)
    wanted = wanted.clamp(0, float(real(torch.tensor(255), RESULT)))
    assert float((found - wanted).abs().max()) <= RESULT.scale * 0.51
    assert torch.equal(residual, before)


def error_of(net: nn.Module, seen: Tensor) -> float:
    """Of the quantised form on the images that it is calibrated with, relative to the largest logit."""
    module = load(calibrated(net, input_size=SIZE, images=seen))
    with torch.inference_mode():
        wanted = net(seen)
        return float((module(seen).float() - wanted).abs().max() / wanted.abs().max())


_SE = partial(SqueezeExcitation, reduction=2)


@pytest.mark.parametrize(
    "make",
    [
        partial(gated, _SE),
        partial(gated, _SE, planes=96),
        partial(gated, EfficientChannelAttention, planes=96),
        partial(gated, partial(_SE, squeeze="max")),
        partial(gated, _SE, "post"),
        *(lambda name=name: drawn(zoo.get(name).build(10)) for name in ("digits_se", "digits_sk")),
        *(
            pytest.param(lambda name=name: drawn(zoo.get(name).build(10)), marks=pytest.mark.slow)
            for name in ("digits_plain", "digits_eca", "resnet20")
        ),
    ],
)
def test_logits_stay_near_whatever_the_attention(make: Callable[[], nn.Module]) -> None:
    """Within the recipe's tolerance: half a step is 0.2 % of a range, and some ten layers add it up."""
    torch.manual_seed(0)
    assert error_of(make(), noise(16)) <= BYTES_TOLERANCE


def test_all_convolutions_of_a_residual_net_take_bytes() -> None:
    """None is left in floating point, and attention adds none."""
    module = load(calibrated(gated(_SE), input_size=SIZE, images=noise(4)))
    with torch.inference_mode(), torch.autograd.profiler.profile() as record:
        module(noise(1))
    called = [event.name for event in record.function_events]
    assert called.count("onednn::qconv2d_pointwise") == 8  # stem, two blocks of three, one projection
    assert "mkldnn::_convolution_pointwise" not in called


class ReadAgain(nn.Module):
    """A sum whose residual is read after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.stem(x)
        total = torch.relu(residual + self.conv(residual))
        difference: Tensor = total - residual
        return difference.mean((2, 3))


def test_a_residual_that_is_read_again_is_not_written_over() -> None:
    """Were it, the difference that this net gives would be zero."""
    torch.manual_seed(0)
    assert error_of(ReadAgain().eval(), noise(16)) <= BYTES_TOLERANCE


@pytest.mark.parametrize(("count", "says"), [(0, "0 images"), (2 * FEWEST - 1, "63 images, at least 64")])
def test_too_few_images_are_refused(count: int, says: str) -> None:
    """The message has the number and the rule."""
    with pytest.raises(CalibrationError, match=says):
        Samples.of(noise(count))
    with pytest.raises(CalibrationError, match=f"{count // 4} images to check with, at least {FEWEST}"):
        Samples(calibration=noise(FEWEST), held_out=noise(count // 4))


def test_images_that_calibrate_do_not_check() -> None:
    """Half of them each, and none is both."""
    images = noise(2 * FEWEST)
    samples = Samples.of(images)
    together = torch.cat((samples.calibration, samples.held_out))
    assert len(samples.calibration) == len(samples.held_out) == FEWEST
    assert len(torch.unique(together, dim=0)) == len(images)


def test_a_net_that_would_tell_other_classes_is_refused() -> None:
    """Calibrated on faint images, its features overflow on strong ones, and it decides by their means."""
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 8, 1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5, bias=False),
    )
    samples = Samples(calibration=0.01 * noise(FEWEST), held_out=noise(FEWEST, 1))
    with pytest.raises(
        CalibrationError, match=f"of {FEWEST} images that it did not see .* at least 99% must"
    ):
        quantised(nn.Sequential(*layers), input_size=SIZE, samples=samples)


def write_pictures(folder: Path, count: int) -> None:
    """Write pictures of several sizes and modes, in folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / str(number % 3) / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (20 + number % 7, 30 - number % 5) if number % 4 else (25, 25, 3)
        Image.fromarray(generator.integers(256, size=shape, dtype=np.uint8)).save(path)


@pytest.mark.parametrize("method", ["stretch", "shorter_side"])
def test_images_are_prepared_as_the_worker_does(
    tmp_path: Path, method: Literal["stretch", "shorter_side"]
) -> None:
    """Against the handler's reference recipe, to 2 of 256 levels."""
    write_pictures(tmp_path, 2 * FEWEST)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    resize = Resize(
        method=method, size=(18, 18) if method == "shorter_side" else SIZE, interpolation="bilinear"
    )
    found = read_samples(tmp_path, InputRecipe(size=SIZE, resize=resize, mean=mean, std=std))
    recipe = Recipe(
        size=SIZE, method=method, resize=resize.size, interpolation="bilinear", mean=mean, std=std
    )
    paths = sorted(tmp_path.rglob("*.png"))
    for path, image in zip(paths[::2], found.calibration, strict=True):
        pixels = np.asarray(fit(Image.open(path).convert("RGB"), recipe, reducing_gap=None))
        levels = 255 * (image.permute(1, 2, 0).numpy() * std + mean)
        np.testing.assert_allclose(levels, pixels, atol=2)


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """No folder, no image, or a file that is none."""
    recipe = input_recipe(zoo.get("digits_se").recipe)
    with pytest.raises(InputError, match="must be a folder of images"):
        read_samples(tmp_path / "absent", recipe)
    with pytest.raises(CalibrationError, match="holds no image"):
        read_samples(tmp_path, recipe)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.png.* cannot be read as an image"):
        read_samples(tmp_path, recipe)


def test_an_untrained_net_is_not_calibrated(tmp_path: Path) -> None:
    """Random weights have no classes that could be kept."""
    with pytest.raises(CalibrationError, match="needs trained weights"):
        build_untrained("digits_se", None, Order(calibration=tmp_path), tmp_path)


def test_without_images_the_recipe_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the option; `auto` does not even try."""
    told: list[Choice] = []
    both: tuple[Recipes, Recipes] = (("cpu-int8", "portable"), "auto")
    monkeypatch.setattr(tuning, "BUDGET_S", 0.0)
    for recipes in both:
        options = ServingOptions(recipes=recipes, threads=1)
        build_untrained("digits_se", None, Order(options=options, on_choice=told.append), tmp_path)
    assert "--calibration" in told[0].left_out["cpu-int8"]
    assert "cpu-int8" not in {**told[1].left_out, **told[1].proofs}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_se", "digits_sk"])
def test_a_trained_net_keeps_its_classes_and_is_served(name: str, tmp_path: Path) -> None:
    """Calibrated on training images: 99 % of 540 held-out ones keep their class, and a worker takes it."""
    data, row = digits.load_split(), zoo.get(name)
    recipe = input_recipe(row.recipe)
    net, _ = train(lambda: row.build(10), recipe, data)
    for number, pixels in enumerate(data.training.pixels[: 4 * FEWEST]):
        Image.fromarray(pixels).save(tmp_path / f"{number:03d}.png")
    options = ServingOptions(recipes=("cpu-int8", "portable"))
    ready = ReadyNet(architecture=Architecture.of_row(row, 10), net=net, labels=digits.LABELS)
    write_archive(tmp_path / "store", pack_net(ready, Order(options=options, calibration=tmp_path)))
    held_out = digits.to_inputs(data.held_out.pixels, recipe)
    samples = read_samples(tmp_path, recipe)
    module = load(quantised(net, input_size=recipe.size, samples=samples))
    assert agreement(net, module, held_out) >= AGREEMENT
    with ServedArchive(tmp_path / "store" / f"{name}.mar") as served:
        assert served.recipe == "cpu-int8"
        images = [path.read_bytes() for path in sorted(tmp_path.glob("*.png"))[:64]]
        found = served.run(images).probabilities.argmax(axis=1)
    assert (found == data.training.labels[:64]).mean() > 0.9
