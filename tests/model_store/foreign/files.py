"""Files of weights as the projects write them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Writer: TypeAlias = Callable[[Path, nn.Module], Path]
"""(folder, net) -> the file with the net's weights."""


def state_dict(folder: Path, net: nn.Module) -> Path:
    """The weights alone, by torch.save."""
    path = folder / "weights.pth"
    torch.save(net.state_dict(), path)
    return path


def old_pickle(folder: Path, net: nn.Module) -> Path:
    """The weights alone, in the format of torch before 1.6, which some releases still have."""
    path = folder / "weights.pkl"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    return path


def training_state(folder: Path, net: nn.Module) -> Path:
    """A `.pth.tar` as ImageNet trainers write it: all keys under `module.`, beside the optimiser's state."""
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    document = {
        "epoch": 100,
        "arch": "resnet",
        "state_dict": {f"module.{key}": value for key, value in net.state_dict().items()},
        "best_prec1": torch.tensor(77.5),
        "optimizer": optimiser.state_dict(),
    }
    path = folder / "model_best.pth.tar"
    torch.save(document, path)
    return path


def own_sknet(folder: Path, net: nn.Module) -> Path:
    """An SKNet of torchvision's names under those of the PyTorch SKNet that went from hand to hand."""
    path = folder / "sknet.pth"
    torch.save({_sknet_name(key): value for key, value in net.state_dict().items()}, path)
    return path


_SKNET: Mapping[str, str] = {
    r"^conv1\.": "basic_conv.0.",
    r"^bn1\.": "basic_conv.1.",
    r"^layer(\d)\.": r"stage_\1.",
    r"\.conv([13])\.": r".conv\1.0.",
    r"\.bn([13])\.": r".conv\1.1.",
    r"\.conv2\.": ".conv2_sk.",
    r"\.downsample\.": ".shortcut.",
    r"^fc\.": "classifier.",
}


def _sknet_name(key: str) -> str:
    for pattern, replacement in _SKNET.items():
        key = re.sub(pattern, replacement, key)
    return key


def safetensors(folder: Path, net: nn.Module) -> Path:
    """The weights alone, as model hubs keep them."""
    return save_tensors(folder, net.state_dict())


def save_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write a safetensors file."""
    path = folder / "model.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return path
