"""Weights of timm's nets give our nets the answers of timm's nets.

The other side of the comparison is the library itself, with random weights and running statistics.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from model_store import zoo
from model_store.errors import InputError
from model_store.weights.fill import Filled, fill
from model_store.weights.read import read
from tests.model_store.foreign import files
from tests.model_store.foreign.comparing import distance, randomise
from tests.standins.timm_loader import load_timm

CLASSES = 5
TOLERANCE = 1e-5  # of the largest logit

# timm's name, the row's
QUICK = {
    "seresnet18": "se_resnet18",
    "legacy_seresnet18": "se_resnet18_caffe",
    "ecaresnet26t": "ecaresnet26t",
    "skresnet18": "skresnet18",
}
SLOW = {
    "seresnet50": "se_resnet50",
    "seresnext50_32x4d": "se_resnext50_32x4d",
    "senet154": "senet154",
    "legacy_seresnet50": "se_resnet50_caffe",
    "legacy_seresnext26_32x4d": "se_resnext26_32x4d_caffe",
    "legacy_seresnext50_32x4d": "se_resnext50_32x4d_caffe",
    "legacy_senet154": "senet154_caffe",
    "ecaresnet50d": "ecaresnet50d",
    "ecaresnet50t": "ecaresnet50t",
    "ecaresnet101d": "ecaresnet101d",
    "ecaresnetlight": "ecaresnetlight",
    "skresnet34": "skresnet34",
    "skresnet50": "skresnet50",
    "skresnet50d": "skresnet50d",
    "skresnext50_32x4d": "sknet50",
}


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    """The library."""
    return load_timm()


@pytest.mark.parametrize(("name", "row"), QUICK.items())
def test_the_answers_are_timm_s(timm: ModuleType, name: str, row: str, tmp_path: Path) -> None:
    """Within 1e-5 of the largest logit, one small net of each family."""
    net = made(timm, name)
    assert distance(filled(net, row, tmp_path).net, net) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "row"), SLOW.items())
def test_the_answers_are_those_of_timm_s_large_nets(
    timm: ModuleType, name: str, row: str, tmp_path: Path
) -> None:
    """The same of every net that timm and the zoo both have, in all their forms."""
    net = made(timm, name)
    assert distance(filled(net, row, tmp_path).net, net) <= TOLERANCE


@pytest.mark.slow
def test_timm_s_cbam_is_turned_round(timm: ModuleType, tmp_path: Path) -> None:
    """It has the mean before the maximum, and no biases: the answers are the same, the biases are told."""
    net = made(timm, "resnet50", block_args={"attn_layer": "cbam"})
    found = filled(net, "cbam_resnet50", tmp_path)
    assert found.settings["biases"] == "no"
    assert distance(found.net, net) <= TOLERANCE


@pytest.mark.slow
def test_timm_s_wider_gate_is_told(timm: ModuleType, tmp_path: Path) -> None:
    """The hidden units of 64 channels are rounded up to 8; the paper's floor(64 / 16) is 4."""
    found = filled(made(timm, "seresnet18"), "se_resnet18", tmp_path)
    assert found.settings["hidden"] == "8 in layer1, 8 in layer2, 16 in layer3, 32 in layer4"


def test_timm_s_forms_are_told_apart_by_their_names(timm: ModuleType, tmp_path: Path) -> None:
    """The same shapes, another graph: `legacy_seresnet18` is refused by the row of `seresnet18`."""
    with pytest.raises(InputError, match="ask for se_resnet18_caffe"):
        filled(made(timm, "legacy_seresnet18"), "se_resnet18", tmp_path)


def made(timm: ModuleType, name: str, **options: Any) -> nn.Module:  # noqa: ANN401  timm's own options
    """A net of timm without a neutral number in it."""
    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)
    return randomise(net)


def filled(net: nn.Module, row: str, folder: Path) -> Filled:
    """Our net with the weights of timm's, which went through a file."""
    return fill(zoo.get(row), read(files.safetensors(folder, net)), classes=CLASSES)
