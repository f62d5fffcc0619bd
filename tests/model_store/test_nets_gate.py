"""The rules on gates that every attention of the zoo obeys."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model_store import zoo
from model_store.nets.bam import BottleneckAttention
from model_store.nets.cbam import ConvolutionalBlockAttention
from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.gate import ChannelGate, ChannelScale
from model_store.nets.scse import SpatialChannelSE
from model_store.nets.se import SqueezeExcitation
from model_store.nets.se_variants import ECANS, SEGC, SEVar1, SEVar2, SEVar3
from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv
from tests.model_store.formulas import trained

BLOCKS = {"digits_plain": 0, "digits_se": 3, "digits_eca": 3, "digits_sk": 3, "se_resnet50": 16, "sknet26": 8}

ATTENTIONS: dict[str, Callable[[], nn.Module]] = {
    "se": lambda: SqueezeExcitation(32, 4),
    "se conv": lambda: SqueezeExcitation(32, 4, form="conv"),
    "se max": lambda: SqueezeExcitation(32, 4, squeeze="max"),
    "se var1": lambda: SEVar1(32),
    "se var2": lambda: SEVar2(32),
    "se var3": lambda: SEVar3(32),
    "se gc": lambda: SEGC(32, 16),
    "eca ns": lambda: ECANS(32),
    "eca": lambda: EfficientChannelAttention(32),
    "sk": lambda: SelectiveKernelConv(32, 32),
    "sk cifar": lambda: SelectiveKernelConv(32, 32, kernel=SelectiveKernel(kernels=((3, 1), (1, 1)))),
    "sk split": lambda: SelectiveKernelConv(32, 32, kernel=SelectiveKernel(groups=1, split=True)),
    "cbam": lambda: ConvolutionalBlockAttention(32),
    "bam": lambda: BottleneckAttention(32),
    "scse": lambda: SpatialChannelSE(32),
    "scse add": lambda: SpatialChannelSE(32, combine="add"),
}


def traced(block: nn.Module) -> nn.Module:
    """Trace a block on one small batch."""
    result: nn.Module = torch.jit.trace(block, torch.randn(2, 32, 7, 7), check_trace=False)  # type: ignore[no-untyped-call] # torch's lack
    return result


@pytest.mark.parametrize(("name", "blocks"), BLOCKS.items())
def test_every_block_has_exactly_one_gate(name: str, blocks: int) -> None:
    """A net has one gate for each block with attention, and none elsewhere."""
    with torch.device("meta"):
        net = zoo.get(name).build(10)
    gates = [module for module in net.modules() if isinstance(module, ChannelGate)]
    holders = [module for module in net.modules() if isinstance(module, ChannelScale | SelectiveKernelConv)]
    assert len(gates) == len(holders) == blocks


@pytest.mark.parametrize("name", ["digits_se", "digits_eca", "digits_sk"])
def test_gates_come_in_forward_order_and_in_the_documented_layout(name: str) -> None:
    """Hooks see one row of branches * channels gates for each image, first block first."""
    net = zoo.get(name).build(10).eval()
    gates = [module for module in net.modules() if isinstance(module, ChannelGate)]
    seen: list[tuple[nn.Module, torch.Size]] = []

    def note(gate: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((gate, output.shape))

    for gate in gates:
        gate.register_forward_hook(note)
    net(torch.randn(2, 3, 16, 16))
    assert seen == [(gate, (2, gate.branches * gate.channels)) for gate in gates]
    assert [gate.channels for gate in gates] == [8, 16, 32]


@pytest.mark.parametrize("name", ["digits_se", "digits_eca", "digits_sk"])
def test_what_a_gate_returns_is_what_the_features_are_multiplied_by(name: str) -> None:
    """With every gate forced to 0 the attention passes nothing on: its blocks' branches vanish."""
    net = zoo.get(name).build(10).eval()
    blocks = [m for m in net.modules() if isinstance(m, ChannelScale | SelectiveKernelConv)]
    for block in blocks:
        block.gate.register_forward_hook(lambda _gate, _inputs, output: torch.zeros_like(output))
        channels = next(block.parameters()).shape[1] if name == "digits_sk" else block.gate.channels
        output = block(torch.randn(2, channels, 8, 8))
        torch.testing.assert_close(output, torch.zeros_like(output))


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_block_s_one_gate_gives_a_row_per_image(name: str) -> None:
    """Every block has one gate, under this name, which gives [N, branches * C] numbers in (0, 1)."""
    block = ATTENTIONS[name]().eval()
    assert [n for n, module in block.named_modules() if isinstance(module, ChannelGate)] == ["gate"]
    seen: list[Tensor] = []
    gate = block.get_submodule("gate")
    assert isinstance(gate, ChannelGate)
    gate.register_forward_hook(lambda _gate, _inputs, output: seen.append(output))
    features = torch.randn(3, 32, 6, 5)
    assert block(features).shape == features.shape
    (gates,) = seen
    assert gates.shape == (3, gate.branches * gate.channels)
    assert bool(((gates > 0) & (gates < 1)).all())


@pytest.mark.parametrize("form", [traced, torch.jit.script], ids=["trace", "script"])
@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_block_survives_torchscript(name: str, form: Callable[[nn.Module], nn.Module]) -> None:
    """Traced and scripted, a block computes the same, on another batch and image size, too."""
    block = trained(ATTENTIONS[name]()).float()
    compiled = form(block)
    for shape in [(2, 32, 7, 7), (1, 32, 5, 9)]:
        features = torch.randn(shape)
        with torch.inference_mode():
            torch.testing.assert_close(compiled(features), block(features))


@pytest.mark.parametrize(("channels", "branches"), [(0, 1), (4, 0)])
def test_gates_of_nothing_are_refused(channels: int, branches: int) -> None:
    """Channels and branches are at least 1."""
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        ChannelGate(channels, branches)


def test_a_gate_without_settings_stays_as_it_is() -> None:
    """What a kind of attention does not leave open cannot be read from weights."""
    gate = ChannelGate(4)
    assert gate.fitted({"weight": (4, 4)}) is gate
