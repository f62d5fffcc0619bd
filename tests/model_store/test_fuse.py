"""The fused form of a net: it computes what the net computes, whatever stands beside a convolution."""

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model_store import zoo
from model_store.errors import FuseError
from model_store.fuse import fused
from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.residual import AttentionFactory, BlockStyle, Bottleneck, Position
from model_store.nets.se import SqueezeExcitation
from model_store.nets.se_variants import SEVar3
from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv
from model_store.threads import cpu_threads

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),  # noqa: SLF001 # it has no public name
    reason="oneDNN has no bfloat16 for this CPU: AVX-512 or newer is needed",
)
REPOSITORY = Path(__file__).parents[2]
SIZE = (16, 16)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Relative to the largest logit. A bfloat16 keeps 8 bits, so a single rounding errs by up to 0.4 %."""


def drawn(net: nn.Module) -> nn.Module:
    """A net in eval mode whose normalisations have statistics and weights that are not 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.1, generator=generator)
    return net.eval()


def opened(file: bytes) -> torch.jit.ScriptModule:
    """Load a file as a worker does."""
    module: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(file))  # type: ignore[no-untyped-call] # torch's lack
    return module


def images(count: int, size: tuple[int, int] = SIZE, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random images [count, 3, H, W], channels_last."""
    x = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(count))
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def worst_error(net: nn.Module, dtype: torch.dtype, batches: tuple[int, ...] = (1, 5)) -> float:
    """The largest difference from the eager net, relative to the largest logit; one file for all batches."""
    module = opened(fused(net, input_size=SIZE, dtype=dtype))
    worst = 0.0
    for count in batches:
        x = images(count).to(dtype)  # rounded first: what a rounded image costs is not the module's error
        logits, wanted = module(x).float(), net(x.float())
        worst = max(worst, float((logits - wanted).abs().max() / wanted.abs().max()))
    return worst


def assert_equal(net: nn.Module, batches: tuple[int, ...] = (1, 5)) -> None:
    """The fused form agrees with the eager net within the tolerance of both types."""
    for dtype, tolerance in TOLERANCE.items():
        assert worst_error(net, dtype, batches) <= tolerance


def operations_of(net: nn.Module) -> list[str]:
    """The operations that one pass of a fused net runs, by name, those within others among them."""
    module = opened(fused(net, input_size=SIZE))
    x = images(1, dtype=torch.bfloat16)
    with torch.inference_mode(), torch.autograd.profiler.profile() as record:
        module(x)
    return [event.name for event in record.function_events]


DIGITS = ["digits_se", "digits_sk"]
SLOW_DIGITS = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("digits_plain", "digits_eca", "resnet20")
]


@pytest.mark.parametrize("name", [*DIGITS, *SLOW_DIGITS])
def test_a_fused_net_computes_what_the_eager_net_computes(name: str) -> None:
    """One file serves every batch size, with fresh statistics and with any others."""
    torch.manual_seed(0)
    net = zoo.get(name).build(10).eval()
    assert_equal(net)
    assert_equal(drawn(net), (1, 2, 5, 16))


@pytest.mark.parametrize("name", DIGITS)
def test_inputs_stay_as_they_were_and_answers_repeat(name: str) -> None:
    """What is written over is never the caller's, and nothing is remembered, with any number of threads."""
    module = opened(fused(drawn(zoo.get(name).build(10)), input_size=SIZE))
    x = images(3, dtype=torch.bfloat16)
    before = x.clone()
    with torch.inference_mode():
        first = module(x)
        for threads in (1, 3):
            with cpu_threads(threads):
                torch.testing.assert_close(module(x), first, rtol=2e-2, atol=2e-2)
        assert torch.equal(module(x), first)
    assert torch.equal(x, before)


class Residual(nn.Module):
    """A net around one sum; what happens to the terms is up to `body`."""

    def __init__(self, body: Callable[["Residual", Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.one, self.two = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.image = nn.Conv2d(3, 3, 1)
        self.scale = SqueezeExcitation(8, reduction=2)
        self.alike = nn.Parameter(torch.randn(1, 3, *SIZE))
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x).mean((2, 3))


def _read_after_the_sum(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    total = net.relu(net.one(residual) + residual)
    answer: Tensor = total * 2 + residual
    return answer


def _read_by_a_later_sum(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    late = net.two(residual)  # stands before the first sum, but goes into the second one, which comes after
    total = net.relu(net.one(residual) + residual)
    answer: Tensor = net.relu(late + total)
    return answer


def _both_terms_of_the_same(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    answer: Tensor = net.one(residual) + net.two(residual)
    return answer


def _the_input_itself(net: Residual, x: Tensor) -> Tensor:
    answer: Tensor = net.image(x) + x
    return answer


def _a_view_of_the_residual(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    view = residual.flatten(2)
    total = net.relu(net.one(residual) + residual)
    answer: Tensor = total + view.reshape(total.shape)
    return answer


def _gated_and_read_again(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    total = net.relu(net.scale(net.one(residual)) + residual)
    answer: Tensor = total - residual
    return answer


def _scaled_and_read_again(net: Residual, x: Tensor) -> Tensor:
    features = net.stem(x)
    answer: Tensor = net.scale(features) * features
    return answer


def _changed_in_place(net: Residual, x: Tensor) -> Tensor:
    features = net.norm(net.one(net.stem(x)))
    rectified = net.relu(features)  # writes over the features, so that the sum reads what is rectified
    answer: Tensor = net.two(rectified) + features
    return answer


def _added_in_place(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    features = net.one(residual)
    features += residual
    features.relu_()
    answer: Tensor = features * residual
    return answer


def _a_sum_with_a_weight(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    answer: Tensor = torch.add(net.one(residual), residual, alpha=3)
    return answer


def _a_sum_that_broadcasts(net: Residual, x: Tensor) -> Tensor:
    residual = net.stem(x)
    answer: Tensor = net.one(residual) + residual.mean((2, 3), keepdim=True)
    return answer


def _a_sum_that_is_alike_for_all_images(net: Residual, x: Tensor) -> Tensor:
    answer: Tensor = net.image(x) + net.alike
    return answer


def _read_twice(net: Residual, x: Tensor) -> Tensor:
    features = net.one(net.stem(x))
    answer: Tensor = net.relu(features.clone()) + features
    return answer


def _called_twice(net: Residual, x: Tensor) -> Tensor:
    once = net.norm(net.one(net.stem(x)))
    answer: Tensor = net.norm(net.one(once)) + once
    return answer


@pytest.mark.parametrize(
    "body",
    [
        _read_after_the_sum,
        _read_by_a_later_sum,
        _both_terms_of_the_same,
        _the_input_itself,
        _a_view_of_the_residual,
        _gated_and_read_again,
        _scaled_and_read_again,
        _changed_in_place,
        _added_in_place,
        _a_sum_with_a_weight,
        _a_sum_that_broadcasts,
        _a_sum_that_is_alike_for_all_images,
        _read_twice,
        _called_twice,
    ],
)
def test_nothing_is_written_over_that_is_read_again(body: Callable[[Residual, Tensor], Tensor]) -> None:
    """Whatever reads a term of a sum, before or after it, finds what the eager net would find."""
    torch.manual_seed(0)
    net = drawn(Residual(body))
    assert worst_error(net, torch.float32) <= TOLERANCE[torch.float32]
    x = images(2)
    before = x.clone()
    opened(fused(net, input_size=SIZE, dtype=torch.float32))(x)
    assert torch.equal(x, before)


def gated(attention: AttentionFactory, position: Position = "standard", planes: int = 4) -> nn.Module:
    """Two bottlenecks with an attention: a projection and an identity are their shortcuts."""
    torch.manual_seed(0)
    style = BlockStyle(attention=attention, position=position)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        Bottleneck(8, planes, 1, style),
        Bottleneck(4 * planes, planes, 1, style),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * planes, 5),
    )
    return drawn(net)


_SE = partial(SqueezeExcitation, reduction=2)


@pytest.mark.parametrize(
    "attention",
    [_SE, partial(_SE, bias=False), partial(_SE, form="conv"), partial(_SE, squeeze="max"), SEVar3]
    + [partial(EfficientChannelAttention, kernel_size=k) for k in (1, 5)],
)
@pytest.mark.parametrize("planes", [4, pytest.param(96, marks=pytest.mark.slow)])
def test_each_attention_is_computed_in_both_ways(attention: AttentionFactory, planes: int) -> None:
    """With few channels the gates go into the weights, with many into the features."""
    assert_equal(gated(attention, planes=planes))


def test_the_gates_go_where_there_is_less_to_multiply() -> None:
    """Weights [C, I] are fewer numbers than features [C, H, W] on large maps only: H W = 256 here."""
    few, many = (operations_of(gated(_SE, planes=planes)) for planes in (4, 96))
    assert few.count("mkldnn::_convolution_pointwise_") == 2  # both blocks end in one pass
    assert "aten::addcmul_" not in few
    assert "mkldnn::_convolution_pointwise_" not in many
    assert many.count("aten::addcmul_") == 2


@pytest.mark.slow
@pytest.mark.parametrize("position", ["pre", "post", "identity", "3x3"])
def test_an_attention_may_stand_anywhere_in_a_block(position: Position) -> None:
    """All places of the SE paper's table 15."""
    assert_equal(gated(_SE, position))


@pytest.mark.parametrize(
    "kernel",
    [
        SelectiveKernel(groups=4, minimum=4),
        SelectiveKernel(groups=1, minimum=4, split=True),
        SelectiveKernel(groups=2, minimum=4, branches=3),
        SelectiveKernel(groups=1, minimum=4, branches=1),
    ],
)
def test_selective_kernels_of_any_setting(kernel: SelectiveKernel) -> None:
    """Two branches have a form of their own; the others are computed as they are written."""
    torch.manual_seed(0)
    conv = SelectiveKernelConv(24 if kernel.branches == 3 else 16, 16, 2, kernel=kernel)
    stem = nn.Conv2d(3, 24 if kernel.branches == 3 else 16, 3)
    assert_equal(drawn(nn.Sequential(stem, conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())))


def test_grouped_convolutions_of_any_width() -> None:
    """Joining narrow groups changes nothing but the time."""
    torch.manual_seed(0)
    widths = [(16, 1), (8, 2), (4, 4), (2, 8), (1, 16), (2, 2)]
    layers = [nn.Conv2d(w * g, 2 * w * g, 3, padding=2, dilation=2, groups=g) for w, g in widths]
    joints = [nn.Conv2d(32, 16, 1) for _ in layers[:-1]]
    parts = [
        part
        for pair in zip(layers, [*joints[:-1], nn.Conv2d(32, 4, 1), nn.ReLU()], strict=True)
        for part in pair
    ]
    assert_equal(nn.Sequential(nn.Conv2d(3, 16, 3), *parts, nn.Flatten()).eval())


def test_an_activation_after_a_convolution() -> None:
    """Those that oneDNN knows are part of the convolution, the others follow it."""
    torch.manual_seed(0)
    activations = (
        nn.ReLU(),
        nn.ReLU6(),
        nn.Sigmoid(),
        nn.SiLU(),
        nn.Tanh(),
        nn.Hardswish(),
        nn.GELU(),
        nn.ELU(),
    )
    net = nn.Sequential()
    for activation in activations:
        conv = nn.Conv2d(8 if len(net) else 3, 8, 3, padding=1)
        nn.init.normal_(conv.weight)  # wide enough to meet the limits of each
        net.extend([conv, activation])
    assert worst_error(net.append(nn.Flatten()).eval(), torch.float32) <= TOLERANCE[torch.float32]


def test_what_has_no_fused_form_is_computed_as_it_is() -> None:
    """Padding by reflection, rounding up, transposed convolutions, normalisation of its own, an odd layer."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(8, 8, 2),
        nn.Dropout2d(),
        nn.Conv2d(8, 8, 3),
        nn.GroupNorm(2, 8),
        nn.AvgPool2d(2),
        nn.Flatten(),
    )
    assert_equal(drawn(net))


def test_the_operations_are_the_fused_ones() -> None:
    """A residual net is convolutions that sum and rectify by themselves: nothing is normalised or copied."""
    operations = operations_of(zoo.get("digits_plain").build(10))
    assert operations.count("mkldnn::_convolution_pointwise_") == 3  # one a block
    others = {"aten::batch_norm", "aten::relu", "aten::relu_", "aten::add", "aten::add_", "aten::clone"}
    assert not others & set(operations)


class Deciding(nn.Module):
    """Decides by its data."""

    def forward(self, x: Tensor) -> Tensor:
        return x if bool(x.sum() > 0) else -x


def _changed_through_a_view(net: Residual, x: Tensor) -> Tensor:
    features = net.stem(x)
    net.relu(features.transpose(2, 3))
    answer: Tensor = net.one(features) + features
    return answer


def _changed_by_a_function(net: Residual, x: Tensor) -> Tensor:
    features = net.stem(x)
    once = net.one(features)  # fused with the sum, it would read the features after their change
    torch.relu_(features)
    answer: Tensor = once + features
    return answer


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Deciding(), "cannot be followed: symbolically traced variables"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)), "no convolution"),
        (nn.Conv2d(4, 8, 3), "cannot be followed"),
        (Residual(_changed_through_a_view), "cannot be followed: relu changes stem_2 in place$"),
        (Residual(_changed_by_a_function), "cannot be followed: relu_ changes stem_2 in place$"),
    ],
)
def test_a_net_that_cannot_be_fused_is_refused_with_the_reason(net: nn.Module, reason: str) -> None:
    """Code that a graph cannot hold, nothing to fuse, a net for other inputs, and changes that hide."""
    with pytest.raises(FuseError, match=reason):
        fused(net, input_size=SIZE)


def test_the_net_is_left_as_it_was() -> None:
    """Its weights, mode and settings are not touched."""
    net = gated(_SE).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fused(net, input_size=SIZE)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.inplace for name, module in net.named_modules() if name.endswith("relu1"))


def test_the_file_is_half_as_large_as_the_weights() -> None:
    """It holds plain weights of two bytes each."""
    net = nn.Sequential(nn.Conv2d(3, 256, 3), nn.Conv2d(256, 256, 3), nn.BatchNorm2d(256), nn.Flatten())
    weights = sum(value.numel() for value in net.parameters()) * 4
    assert 0.5 * weights < len(fused(net, input_size=(8, 8))) < 0.53 * weights


def test_a_loaded_file_can_be_saved_and_loaded_again() -> None:
    """The packed weights give the plain ones back, bit by bit."""
    module = opened(fused(zoo.get("digits_sk").build(10), input_size=SIZE))
    again = io.BytesIO()
    torch.jit.save(module, again)
    x = images(2, dtype=torch.bfloat16)
    assert torch.equal(opened(again.getvalue())(x), module(x))


def hash_elsewhere(*before: str) -> str:
    """The sha256 of digits_sk's file as a process writes it after those of `before`."""
    code = f"""
import hashlib, sys, warnings
warnings.simplefilter("ignore")
import torch
from model_store import zoo
from model_store.fuse import fused
for name in {before!r}:
    fused(zoo.get(name).build(10), input_size=(16, 16))
torch.manual_seed(0)
print(hashlib.sha256(fused(zoo.get("digits_sk").build(10), input_size=(16, 16))).hexdigest())
"""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=100
    ).stdout


@pytest.mark.slow
def test_the_same_net_gives_the_same_bytes_in_any_process() -> None:
    """Whatever was fused before: torch counts its classes up, which must not show in the file."""
    torch.manual_seed(0)
    here = hashlib.sha256(fused(zoo.get("digits_sk").build(10), input_size=SIZE)).hexdigest()
    assert hash_elsewhere().strip() == here
    assert hash_elsewhere("digits_se", "digits_sk").strip() == here


def test_the_same_net_gives_the_same_bytes() -> None:
    """Twice in one process."""
    net = gated(_SE)
    assert fused(net, input_size=SIZE) == fused(net, input_size=SIZE)


@pytest.mark.slow
def test_a_fresh_process_with_torch_alone_gives_the_same_answers(tmp_path: Path) -> None:
    """The file is loaded without this package."""
    torch.manual_seed(0)
    net = zoo.get("digits_se").build(10)
    file = fused(net, input_size=SIZE)
    x = images(3, dtype=torch.bfloat16)
    (tmp_path / "model.pt").write_bytes(file)
    torch.save(x, tmp_path / "x.pt")
    code = "import torch; torch.save(torch.jit.load('model.pt')(torch.load('x.pt')), 'y.pt')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=True, timeout=100)
    with cpu_threads(torch.get_num_threads()):
        torch.testing.assert_close(torch.load(tmp_path / "y.pt"), opened(file)(x), rtol=2e-2, atol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("se_resnet50", "sknet50", "mobilenet_v2", "bn_inception", "cbam_resnet50"),
        pytest.param("senet154", marks=pytest.mark.exhaustive),
    ],
)
def test_a_large_net_is_fused(name: str) -> None:
    """Sums of all kinds, concatenations, poolings that round up, and attentions without a fused form."""
    torch.manual_seed(0)
    net = drawn(zoo.get(name).build(10))
    x = images(2, (64, 64))
    with torch.inference_mode():
        wanted = net(x)
        for dtype, tolerance in TOLERANCE.items():
            module = opened(fused(net, input_size=(64, 64), dtype=dtype))
            error = (module(x.to(dtype)).float() - wanted).abs().max() / wanted.abs().max()
            assert float(error) <= tolerance
