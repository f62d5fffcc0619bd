"""Every net of the zoo becomes TorchScript that computes what the eager net computes, gates and all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model_store import zoo
from model_store.nets.gate import ChannelGate
from model_store.script import ExportedNet, export, load
from tests.rows import images, lively, rows_of_each_kind

QUICK = ("eca_resnet20", "sk_resnet20", "se_resnet20_r4")
# Those of the demo go through all of this wherever the demo is built.
ROWS = [row for row in zoo.TABLE.values() if not row.name.startswith("digits_")]
# For those that are not to take long: enough for five halvings, and for what is global to differ from local.
SMALL_SIDE = 64
# The only one of its kind, at 115 million parameters; the exhaustive test below has it.
LARGE = "senet154"
SEED = 1


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", zoo.TABLE)
def test_every_row_at_its_own_size(name: str, tmp_path: Path) -> None:
    """As documented, with all its classes."""
    row = zoo.get(name)
    require_served_as_eager(lively(row), row.recipe.input_size, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [row.name for row in rows_of_each_kind(ROWS) if row.name != LARGE])
def test_a_row_of_each_family_and_attention(name: str, tmp_path: Path) -> None:
    """The smallest of its kind, on images of at most 64 pixels."""
    row = zoo.get(name)
    side = min(SMALL_SIDE, *row.recipe.input_size)
    require_served_as_eager(lively(row), (side, side), tmp_path)


@pytest.mark.parametrize("name", QUICK)
def test_small_rows(name: str, tmp_path: Path) -> None:
    """Nets of CIFAR's size, at their own size."""
    row = zoo.get(name)
    require_served_as_eager(lively(row), row.recipe.input_size, tmp_path)


def require_served_as_eager(net: nn.Module, size: tuple[int, int], folder: Path) -> None:
    """Export a net, write and read the file, and compare it on batches that the proof has not seen."""
    exported = export(net, input_size=size)
    assert exported.parity.max_abs_error <= exported.parity.tolerance
    file = folder / "model.pt"
    file.write_bytes(exported.model)
    served = load(file.read_bytes())
    file.unlink()  # pytest keeps the folders of several runs, which would be tens of gigabytes
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(SEED)
        for batch in (1, 4):
            _compare(net, served, exported, images(batch, size))


def _compare(net: nn.Module, served: torch.jit.ScriptModule, exported: ExportedNet, x: Tensor) -> None:
    expected, gates = _eager(net, x)
    tolerance = exported.parity.tolerance
    logits = served(x)
    assert _relative_error(logits, expected) <= tolerance
    layout = exported.attention_layout
    assert {entry.block for entry in layout} == set(gates)
    assert len(layout) == len(gates), "each block once"
    if not layout:
        assert not hasattr(served, "explain")
        return
    explained, columns = served.explain(x)
    assert torch.equal(explained, logits) or _relative_error(explained, logits) <= tolerance
    widths = [entry.channels * entry.branches for entry in layout]
    assert columns.shape == (len(x), sum(widths))
    for entry, found in zip(layout, columns.split(widths, dim=1), strict=True):
        torch.testing.assert_close(found, gates[entry.block].flatten(1), rtol=0, atol=tolerance)
    assert [entry.block for entry in layout] == list(gates), "in forward order"


def _eager(net: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The eager net's logits, and what each of its gates said, by the block's name, in forward order."""
    gates: dict[str, Tensor] = {}

    def listen(name: str, gate: ChannelGate) -> torch.utils.hooks.RemovableHandle:
        def keep(_gate: nn.Module, _inputs: object, output: Tensor) -> None:
            assert name not in gates, f"{name} is called once"
            assert output.shape == (len(x), gate.channels * gate.branches)
            gates[name] = output

        return gate.register_forward_hook(keep)

    found = {name: part for name, part in net.named_modules() if isinstance(part, ChannelGate)}
    handles = [listen(name.removesuffix(".gate"), gate) for name, gate in found.items()]
    logits: Tensor = net(x)
    for handle in handles:
        handle.remove()
    assert len(gates) == len(found), "every gate of the net is used"
    return logits, gates


def _relative_error(found: Tensor, expected: Tensor) -> float:
    assert torch.isfinite(expected).all()
    return float((found - expected).abs().max() / expected.abs().max())
