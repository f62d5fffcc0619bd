"""The rules on gates that every attention of the zoo obeys."""

import pytest
import torch
from torch import Tensor, nn

from model_store import zoo
from model_store.nets.gate import ChannelGate, ChannelScale
from model_store.nets.sk import SelectiveKernelConv

BLOCKS = {"digits_plain": 0, "digits_se": 3, "digits_eca": 3, "digits_sk": 3, "se_resnet50": 16, "sknet26": 8}


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


@pytest.mark.parametrize(("channels", "branches"), [(0, 1), (4, 0)])
def test_gates_of_nothing_are_refused(channels: int, branches: int) -> None:
    """Channels and branches are at least 1."""
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        ChannelGate(channels, branches)
