"""The net's own tricks: precision of a frozen module, padding to a bucket, parity in half precision."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from handlers.attn_archive import ArchiveError, read_signature
from handlers.attn_device import Placement
from handlers.attn_module import cast
from handlers.attn_net import Net, NetInput, padded

if TYPE_CHECKING:
    from tests.handlers.conftest import Archive, TinyNet

HALF = Placement(device=torch.device("cpu"), dtype=torch.bfloat16)


def _loaded(path: Path) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit's own notice
        module: torch.jit.ScriptModule = torch.jit.load(path)  # type: ignore[no-untyped-call] # torch's lack
    return module


def test_a_frozen_module_changes_its_precision(archive: Archive, net: TinyNet) -> None:
    """Its weights are constants, which `Module.to` leaves alone; `cast` reaches them in both methods."""
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    module = cast(_loaded(archive.folder / "model.pt"), torch.bfloat16)
    with torch.inference_mode():
        logits, gates = module.explain(x.bfloat16())
        assert module(x.bfloat16()).dtype == logits.dtype == gates.dtype == torch.bfloat16
        expected, _ = net.explain(x)
    np.testing.assert_allclose(logits.float().numpy(), expected.numpy(), atol=0.03)


def test_half_precision_is_served_in_float32(archive: Archive, net: TinyNet) -> None:
    """Inputs are cast on the way in, answers on the way out."""
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    half = Net(archive.folder, read_signature(archive.folder), HALF)
    half.warm_up()
    found = half(NetInput(pixels=torch.zeros(0, 16, 16, 3, dtype=torch.uint8), tensors=x), explain=True)
    assert found.gates is not None
    assert found.logits.dtype == found.gates.dtype == np.float32
    with torch.inference_mode():
        np.testing.assert_allclose(found.logits, net(x).numpy(), atol=0.03)


def test_half_precision_is_held_to_the_classes(archive: Archive, net: TinyNet) -> None:
    """Rounding is forgiven, another class is not, and the message counts them."""
    signature = read_signature(archive.folder)
    half = Net(archive.folder, signature, HALF)
    samples = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 3
    with torch.inference_mode():
        logits = net(samples).numpy()
    np.savez(archive.folder / "parity.npz", input=samples.numpy(), logits=logits)
    half.check_parity(archive.folder, None)
    logits[0] = -logits[0]
    np.savez(archive.folder / "parity.npz", input=samples.numpy(), logits=logits)
    with pytest.raises(ArchiveError, match="in half precision, 1 of 4 samples get another class"):
        half.check_parity(archive.folder, None)


def test_padding_adds_zero_rows() -> None:
    """Up to the bucket, and not at all when it is full."""
    x = torch.ones(3, 2)
    assert padded(x, 4).tolist() == [[1, 1]] * 3 + [[0, 0]]
    assert padded(x, 3) is x
