"""TorchScript export: proven equal or refused, gates in order, the same bytes every time."""

import gc
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor, nn

from model_store import zoo
from model_store.errors import ParityError
from model_store.nets.gate import ChannelGate, ChannelScale
from model_store.proof import proof_inputs
from model_store.script import Explainable, export, load
from model_store.threads import cpu_threads

REPOSITORY = Path(__file__).parents[2]
SIZE = (16, 16)


class Gate(ChannelGate):
    """A gate whose output is easy to tell: the sigmoid of each channel's mean, times a number."""

    def __init__(self, channels: int, factor: float) -> None:
        super().__init__(channels)
        self.factor = factor

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(features.mean(dim=(2, 3))) * self.factor


def gated_net(width: int = 8) -> nn.Module:
    """Two gated blocks of `width` and 2 * `width` channels."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.BatchNorm2d(width),
        ChannelScale(Gate(width, 0.5)),
        nn.Conv2d(width, 2 * width, 3),
        ChannelScale(Gate(2 * width, 0.25)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 4),
    )
    return net.eval()


class Branching(nn.Module):
    """Decides by its data, which a trace cannot follow and scripting can."""

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3))
        if bool(means.sum() > 0):
            return means
        return -2 * means


class Unscriptable(nn.Module):
    """Leaves torch for a number: a trace bakes it in, and scripting cannot read it."""

    def forward(self, x: Tensor) -> Tensor:
        number = float(np.asarray(x.detach()).sum())
        return x.mean(dim=(2, 3)) * number


class NotFinite(nn.Module):
    """Gives NaN."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) * float("nan")


@pytest.mark.parametrize("name", ["digits_plain", "digits_se", "digits_eca", "digits_sk"])
def test_a_frozen_net_computes_what_the_eager_net_computes(name: str) -> None:
    """Logits agree on inputs and batch sizes that the proof did not use."""
    net = zoo.get(name).build(10).eval()
    exported = export(net, input_size=SIZE)
    x = torch.randn(7, 3, *SIZE)
    with torch.inference_mode():
        torch.testing.assert_close(load(exported.model)(x), net(x), rtol=1e-4, atol=1e-5)
    assert exported.parity.form == "trace"
    assert exported.parity.max_abs_error <= exported.parity.tolerance
    assert exported.parity.batch_sizes == (1, 2, 5, 16)


def test_explain_returns_the_gates_in_the_order_of_the_layout() -> None:
    """Columns are the gates' own outputs, block after block, and the logits are those of forward."""
    net = gated_net()
    exported = export(net, input_size=SIZE)
    x = torch.randn(3, 3, *SIZE)
    module = load(exported.model)
    logits, gates = module.explain(x)
    layout = [(entry.block, entry.channels, entry.branches) for entry in exported.attention_layout]
    assert layout == [("2", 8, 1), ("4", 16, 1)]
    torch.testing.assert_close(logits, module(x))
    with torch.inference_mode():
        first = net[:2](x)  # type: ignore[index] # a Sequential
        torch.testing.assert_close(gates[:, :8], torch.sigmoid(first.mean(dim=(2, 3))) * 0.5)
    assert gates.shape == (3, 24)
    assert float(gates[:, 8:].max()) <= 0.25


def test_a_selective_kernel_has_a_column_for_each_branch() -> None:
    """For SK the M weights of a channel add up to one, branch-major."""
    exported = export(zoo.get("digits_sk").build(10), input_size=SIZE)
    _, gates = load(exported.model).explain(torch.randn(2, 3, *SIZE))
    first = exported.attention_layout[0]
    assert first.branches == 2
    weights = gates[:, : 2 * first.channels].reshape(2, 2, first.channels)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, first.channels))


def test_a_plain_net_offers_no_explain() -> None:
    """Without gates there is no layout and no second method."""
    exported = export(zoo.get("digits_plain").build(10), input_size=SIZE)
    assert exported.attention_layout == ()
    assert not hasattr(load(exported.model), "explain")


def test_explain_does_not_double_the_file() -> None:
    """Both methods share one copy of the weights."""
    net = gated_net(width=128)
    weights = sum(value.numel() * value.element_size() for value in net.state_dict().values())
    assert len(export(net, input_size=SIZE).model) < 1.1 * weights


def test_explaining_leaves_no_hook_behind() -> None:
    """After a call the net's gates are as they were."""
    net = gated_net()
    Explainable(net).explain(torch.randn(1, 3, *SIZE))
    assert not any(module._forward_hooks for module in net.modules())  # noqa: SLF001 # nothing public tells


def test_a_net_that_branches_on_its_data_is_scripted() -> None:
    """Where the trace is proven wrong the next form is taken."""
    exported = export(Branching(), input_size=SIZE)
    assert exported.parity.form == "script"
    x = torch.cat([torch.ones(1, 3, *SIZE), -torch.ones(1, 3, *SIZE)])
    module = load(exported.model)
    assert module(x[:1]).tolist() == [[1, 1, 1]]
    assert module(x[1:]).tolist() == [[2, 2, 2]]


def test_a_net_that_no_form_reproduces_is_refused_with_the_figure() -> None:
    """The message has each form's reason and the tolerance."""
    with pytest.raises(ParityError, match=r"tolerance 0\.0001\): trace: relative error \d.*; script: "):
        export(Unscriptable(), input_size=SIZE)


def test_a_net_that_gives_nan_is_refused() -> None:
    """NaN equals nothing, so no tolerance admits it."""
    with pytest.raises(ParityError, match="relative error nan"):
        export(NotFinite(), input_size=SIZE)


def test_real_inputs_are_part_of_the_proof_and_travel() -> None:
    """The kept samples are the real ones, with the eager net's logits."""
    net = gated_net()
    real = torch.rand(20, 3, *SIZE)
    exported = export(net, input_size=SIZE, real=real)
    assert exported.parity.samples == "real"
    torch.testing.assert_close(exported.samples, real[:4])
    with torch.inference_mode():
        torch.testing.assert_close(exported.logits, net(real[:4]))


def test_without_real_inputs_random_ones_travel() -> None:
    """The record says which they were."""
    exported = export(gated_net(), input_size=SIZE)
    assert exported.parity.samples == "random"
    assert exported.samples.shape == (4, 3, 16, 16)


def test_large_inputs_are_proven_on_small_batches() -> None:
    """At 224 x 224 a batch of 16 would show nothing new."""
    assert [len(batch) for batch in proof_inputs((224, 224)).all] == [1, 2, 3]


@pytest.mark.slow
def test_memory_is_given_back() -> None:
    """However many nets one process turns into TorchScript, it holds none of their weights afterwards."""
    net = nn.Sequential(nn.Conv2d(3, 768, 3), nn.Conv2d(768, 768, 3), nn.BatchNorm2d(768), nn.Flatten())
    megabytes = sum(weight.numel() for weight in net.parameters()) * 4 / 1e6
    assert megabytes > 20

    def grown() -> float:
        before = psutil.Process().memory_info().rss
        export(net, input_size=(5, 5))
        gc.collect()
        return (psutil.Process().memory_info().rss - before) / 1e6

    grown()
    assert sum(grown() for _ in range(3)) < 2 * megabytes


@pytest.mark.parametrize("size", [SIZE, (160, 160)])
def test_one_thread_works_at_any_size(size: tuple[int, int]) -> None:
    """What is written does not depend on how many cores the machine has."""
    seen = set[int]()

    class Watching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.add(torch.get_num_threads())
            return x.mean(dim=(2, 3))

    with cpu_threads(3):
        export(Watching(), input_size=size)
        assert torch.get_num_threads() == 3
    assert seen == {1}


def test_the_same_net_gives_the_same_bytes() -> None:
    """In one process torch counts its classes up, which must not show in the file."""
    assert export(gated_net(), input_size=SIZE).model == export(gated_net(), input_size=SIZE).model


def exported_elsewhere(folder: Path, *before: str) -> str:
    """The sha256 of digits_sk's file as a process in `folder` writes it after those of `before`."""
    code = f"""
import hashlib, sys, warnings
sys.path.insert(0, {str(REPOSITORY)!r})
warnings.simplefilter("ignore")
import torch
from model_store import script, zoo
for name in {before!r}:
    script.export(zoo.get(name).build(10), input_size=(16, 16))
torch.manual_seed(0)
model = script.export(zoo.get("digits_sk").build(10), input_size=(16, 16)).model
print(hashlib.sha256(model).hexdigest())
"""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=100).stdout


@pytest.mark.slow
def test_another_process_in_another_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither paths nor process-wide counters reach the file."""
    other = exported_elsewhere(tmp_path)
    assert len(other.strip()) == 64
    assert other == exported_elsewhere(REPOSITORY, "digits_se")


def test_the_file_holds_no_path_of_its_maker() -> None:
    """Debug records, which name source files, are left out."""
    assert str(REPOSITORY).encode() not in export(gated_net(), input_size=SIZE).model


def test_the_warning_filters_of_the_caller_are_kept() -> None:
    """torch.jit's notice is held back inside only."""
    before = list(warnings.filters)
    export(gated_net(), input_size=SIZE)
    assert list(warnings.filters) == before
