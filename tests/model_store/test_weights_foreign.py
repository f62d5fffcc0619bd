"""Weights of other projects give our nets the answers that the other projects' nets give.

Each foreign net is computed from its own definition (`tests.model_store.foreign`), which shares nothing with
`model_store.nets`, with random weights and random running statistics; they go through a file as that project
writes it. A conversion that loses, swaps or misplaces a single tensor is far from the tolerance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from model_store import zoo
from model_store.errors import InputError
from model_store.weights.fill import fill
from model_store.weights.read import read
from tests.model_store.foreign import files
from tests.model_store.foreign.attentions import BAM, CBAM, ConvECA, ExcitationSE, FcSE, ListsSK, TwoLayerSE
from tests.model_store.foreign.comparing import distance, randomise
from tests.model_store.foreign.mobilenet import ECAMobileNetV2
from tests.model_store.foreign.residual import Maker, Plan, ResNet
from tests.model_store.foreign.senets import Plan as SEPlan
from tests.model_store.foreign.senets import SENet

CLASSES = 5
TOLERANCE = 1e-5  # of the largest logit
VISIBLE = 1e-2  # a thousand times as much: no rounding
D18, D50 = (2, 2, 2, 2), (3, 4, 6, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A foreign net, the row that it is here, and how its project writes weights."""

    row: str
    layout: str
    make: Callable[[int], nn.Module]
    write: files.Writer = files.state_dict
    form: zoo.Form | None = None


def resnet(plan: Plan) -> Callable[[int], nn.Module]:
    """Classes -> the net."""
    return lambda classes: ResNet(plan, classes)


def with_block(name: str, maker: Maker) -> Callable[[int], nn.Module]:
    """A ResNet-18 whose blocks hold an attention under that name."""
    return resnet(Plan(depths=D18, basic=True, attention=(name, maker)))


def senet(plan: SEPlan) -> Callable[[int], nn.Module]:
    """Classes -> the net."""
    return lambda classes: SENet(plan, classes)


def eca(first_planes: int, *sizes: int) -> Maker:
    """ECA with one k for each stage, whose channels double from `first_planes` on."""
    return lambda channels: ConvECA(sizes[(channels // first_planes).bit_length() - 1])


SKNET26 = Plan(depths=D18, groups=32, base_width=4, spatial=ListsSK)
CBAM50 = Plan(depths=D50, attention=("cbam", CBAM))
BAM50 = Plan(depths=D50, between=("bam", BAM))
CIFAR20 = Plan(depths=(3, 3, 3), basic=True, first_planes=16, small_images=True, attention=("se", FcSE))
CADENE50 = senet(SEPlan(kind="resnet", depths=D50))

QUICK = {
    "moskomule: CIFAR": Case(
        row="se_resnet20", layout="moskomule", make=resnet(CIFAR20), write=files.old_pickle
    ),
    "ECANet: k 3, 5, 7, 7": Case(
        row="eca_resnet18_k3577",
        layout="ecanet",
        make=with_block("eca", eca(64, 3, 5, 7, 7)),
        write=files.training_state,
    ),
    "ECANet: MobileNetV2": Case(
        row="eca_mobilenet_v2_k13", layout="ecanet", make=ECAMobileNetV2, write=files.training_state
    ),
    "attention-module: CBAM": Case(
        row="cbam_resnet50", layout="attention-module", make=resnet(CBAM50), write=files.training_state
    ),
    "an article: excitation.0": Case(
        row="se_resnet18", layout="generic", make=with_block("se_block", ExcitationSE), form="torch"
    ),
    "SK with lists": Case(row="sknet26", layout="sknet-pytorch", make=resnet(SKNET26)),
}
SLOW = {
    "moskomule: 18": Case(row="se_resnet18", layout="moskomule", make=with_block("se", FcSE)),
    "moskomule: 50": Case(
        row="se_resnet50_nobias",
        layout="moskomule",
        make=resnet(Plan(depths=D50, attention=("se", FcSE))),
        write=files.old_pickle,
    ),
    "ECANet: k 3, 5, 5, 7": Case(
        row="eca_resnet50_k3557",
        layout="ecanet",
        make=resnet(Plan(depths=D50, attention=("eca", eca(256, 3, 5, 5, 7)))),
        write=files.training_state,
    ),
    "attention-module: BAM": Case(
        row="bam_resnet50", layout="attention-module", make=resnet(BAM50), write=files.training_state
    ),
    "Cadene: SE-ResNet": Case(row="se_resnet50_caffe", layout="cadene", make=CADENE50),
    "Cadene: SE-ResNeXt": Case(
        row="se_resnext50_32x4d_caffe", layout="cadene", make=senet(SEPlan(kind="resnext", depths=D50))
    ),
    "Cadene: SENet-154": Case(
        row="senet154_caffe", layout="cadene", make=senet(SEPlan(kind="senet", depths=(3, 8, 36, 3)))
    ),
    "an article: conv": Case(
        row="eca_resnet18", layout="generic", make=with_block("ca", lambda _: ConvECA(3))
    ),
    "an article: fc1": Case(
        row="se_resnet18", layout="generic", make=with_block("attn", TwoLayerSE), form="torch"
    ),
    "SK with lists and biases, other names": Case(
        row="sknet26",
        layout="sknet-pytorch",
        make=resnet(replace(SKNET26, spatial=partial(ListsSK, bias=True))),
        write=files.own_sknet,
    ),
    "SK with lists: 50": Case(
        row="sknet50",
        layout="sknet-pytorch",
        make=resnet(Plan(depths=D50, groups=32, base_width=4, spatial=ListsSK)),
    ),
}


@pytest.mark.parametrize("case", QUICK.values(), ids=QUICK)
def test_the_answers_are_the_foreign_net_s(case: Case, tmp_path: Path) -> None:
    """Within 1e-5 of the largest logit, on images as well as weights that are random."""
    _require_the_same_answers(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW.values(), ids=SLOW)
def test_the_answers_are_the_large_foreign_net_s(case: Case, tmp_path: Path) -> None:
    """The same of nets of fifty layers and more."""
    _require_the_same_answers(case, tmp_path)


def test_the_form_of_the_graph_matters(tmp_path: Path) -> None:
    """Caffe's weights fit the other form in every shape, and its answers are wrong: so they are refused."""
    foreign = randomise(CADENE50(CLASSES))
    file = read(files.state_dict(tmp_path, foreign))
    with pytest.raises(InputError, match="ask for se_resnet50_caffe"):
        fill(zoo.get("se_resnet50"), file, classes=CLASSES)
    right = fill(zoo.get("se_resnet50_caffe"), file, classes=CLASSES).net
    wrong = zoo.get("se_resnet50").build(CLASSES)
    wrong.load_state_dict(right.state_dict())
    assert distance(right, foreign) <= TOLERANCE
    assert distance(wrong, foreign) > VISIBLE


@pytest.mark.slow
def test_the_order_of_cbam_s_maps_matters(tmp_path: Path) -> None:
    """With the mean before the maximum, as the paper's text has it, the same weights answer otherwise."""
    foreign, swapped = (
        randomise(ResNet(replace(CBAM50, attention=("cbam", partial(CBAM, mean_first=first))), CLASSES))
        for first in (False, True)
    )
    file = read(files.state_dict(tmp_path, foreign))
    assert distance(fill(zoo.get("cbam_resnet50"), file, classes=CLASSES).net, swapped) > VISIBLE


@pytest.mark.slow
def test_the_order_of_sk_s_branches_matters(tmp_path: Path) -> None:
    """The layers of the two branches have the same shape; exchanged, they answer otherwise."""
    foreign = randomise(ResNet(SKNET26, CLASSES))
    found = fill(zoo.get("sknet26"), read(files.state_dict(tmp_path, foreign)), classes=CLASSES)
    for block in foreign.modules():
        if isinstance(block, ListsSK):
            block.fcs = nn.ModuleList(reversed(list(block.fcs)))
    assert distance(found.net, foreign) > VISIBLE


def _require_the_same_answers(case: Case, folder: Path) -> None:
    foreign = randomise(case.make(CLASSES))
    found = fill(zoo.get(case.row), read(case.write(folder, foreign)), classes=CLASSES, form=case.form)
    assert found.layout.name == case.layout
    assert distance(found.net, foreign) <= TOLERANCE
