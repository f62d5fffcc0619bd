"""Layouts are recognised by keys and shapes, and their names become ours.

The keys are those of the projects' own nets, as their code spells them: moskomule/senet.pytorch,
BangguWu/ECANet, Jongchan/attention-module, Cadene/pretrained-models.pytorch, timm, torchvision,
developer0hye/SKNet-PyTorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import pytest
import torch
from torch import Tensor

from model_store import zoo
from model_store.errors import InputError
from model_store.weights.layouts import LAYOUTS, recognise

PLAIN = {"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 1, 1), "fc.weight": (5, 2048)}


def zeros(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights of these shapes."""
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Keys of a project's net with their shapes; which layout that is, of which form; ours for some keys."""

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    ours: Mapping[str, str]
    form: str | None = "torch"


CADENE = {"layer0.conv1.weight": (64, 3, 7, 7), "last_linear.weight": (5, 2048)}
MOBILE = {
    "features.0.0.weight": (32, 3, 3, 3),
    "features.1.conv.0.0.weight": (32, 1, 3, 3),
    "classifier.1.weight": (5, 1280),
}
CASES = {
    "torchvision": Case(
        name="torchvision",
        shapes=PLAIN,
        ours={"layer1.0.downsample.0.weight": "layer1.0.downsample.0.weight"},
    ),
    "torchvision mobilenet": Case(
        name="torchvision", shapes=MOBILE, ours={"features.1.conv.0.0.weight": "features.1.conv.0.0.weight"}
    ),
    "timm se": Case(
        name="timm",
        shapes={**PLAIN, "layer1.0.se.fc1.weight": (16, 256, 1, 1), "layer1.0.se.fc1.bias": (16,)},
        ours={"layer1.0.se.fc2.bias": "layer1.0.attention.gate.fc2.bias"},
    ),
    "timm eca": Case(
        name="timm",
        shapes={**PLAIN, "layer1.0.se.conv.weight": (1, 1, 5)},
        ours={
            "layer1.0.se.conv.weight": "layer1.0.attention.gate.conv.weight",
            "conv1.6.weight": "conv1.6.weight",
        },
    ),
    "timm sk": Case(
        name="timm",
        shapes={"conv1.weight": (64, 3, 7, 7), "layer1.0.conv2.attn.fc_reduce.weight": (32, 128, 1, 1)},
        ours={
            "layer1.0.conv1.conv.weight": "layer1.0.conv1.weight",
            "layer1.0.conv3.bn.running_var": "layer1.0.bn3.running_var",
            "layer1.0.conv2.paths.1.conv.weight": "layer1.0.conv2.paths.1.0.weight",
            "layer1.0.conv2.paths.0.bn.bias": "layer1.0.conv2.paths.0.1.bias",
            "layer1.0.conv2.attn.fc_reduce.weight": "layer1.0.conv2.gate.fc1.weight",
            "layer1.0.conv2.attn.bn.running_mean": "layer1.0.conv2.gate.bn.running_mean",
            "layer1.0.conv2.attn.fc_select.weight": "layer1.0.conv2.gate.fc2.weight",
        },
    ),
    "timm cbam": Case(
        name="timm",
        shapes={**PLAIN, "layer1.0.se.channel.fc1.weight": (16, 256, 1, 1)},
        ours={
            "layer1.0.se.channel.fc2.weight": "layer1.0.attention.gate.fc2.weight",
            "layer1.0.se.spatial.conv.conv.weight": "layer1.0.attention.spatial.conv.weight",
            "layer1.0.se.spatial.conv.bn.bias": "layer1.0.attention.spatial.bn.bias",
        },
    ),
    "cadene": Case(
        name="cadene",
        shapes={**CADENE, "layer1.0.se_module.fc1.weight": (16, 256, 1, 1)},
        ours={
            "layer0.bn1.weight": "bn1.weight",
            "layer4.2.se_module.fc2.bias": "layer4.2.attention.gate.fc2.bias",
            "last_linear.bias": "fc.bias",
        },
        form="caffe",
    ),
    "cadene senet154": Case(
        name="cadene",
        shapes={
            **CADENE,
            "layer0.conv3.weight": (128, 64, 3, 3),
            "layer1.0.se_module.fc1.weight": (16, 256, 1, 1),
        },
        ours={
            "layer0.conv2.weight": "conv1.3.weight",
            "layer0.bn2.bias": "conv1.4.bias",
            "layer0.bn3.bias": "bn1.bias",
        },
        form="caffe",
    ),
    "moskomule": Case(
        name="moskomule",
        shapes={**PLAIN, "layer1.0.se.fc.0.weight": (16, 256)},
        ours={"layer1.0.se.fc.2.weight": "layer1.0.attention.gate.fc2.weight"},
    ),
    "ecanet": Case(
        name="ecanet",
        shapes={**PLAIN, "layer1.0.eca.conv.weight": (1, 1, 3)},
        ours={"layer1.0.eca.conv.weight": "layer1.0.attention.gate.conv.weight"},
    ),
    "ecanet mobilenet": Case(
        name="ecanet",
        shapes={**MOBILE, "features.1.conv.3.conv.weight": (1, 1, 1)},
        ours={
            "features.1.conv.3.conv.weight": "features.1.attention.gate.conv.weight",
            "features.17.conv.4.conv.weight": "features.17.attention.gate.conv.weight",
            "features.17.conv.3.weight": "features.17.conv.3.weight",
        },
    ),
    "cbam": Case(
        name="attention-module",
        shapes={**PLAIN, "layer1.0.cbam.ChannelGate.mlp.1.weight": (16, 256)},
        ours={
            "layer1.0.cbam.ChannelGate.mlp.3.bias": "layer1.0.attention.gate.fc2.bias",
            "layer1.0.cbam.SpatialGate.spatial.bn.running_var": "layer1.0.attention.spatial.bn.running_var",
        },
    ),
    "bam": Case(
        name="attention-module",
        shapes={**PLAIN, "bam1.channel_att.gate_c.gate_c_fc_0.weight": (16, 256)},
        ours={
            "bam2.channel_att.gate_c.gate_c_bn_1.weight": "attention2.channel.bn.weight",
            "bam2.channel_att.gate_c.gate_c_fc_final.bias": "attention2.channel.fc2.bias",
            "bam3.spatial_att.gate_s.gate_s_conv_reduce0.bias": "attention3.spatial.conv0.bias",
            "bam3.spatial_att.gate_s.gate_s_bn_di_1.weight": "attention3.spatial.bn2.weight",
            "bam3.spatial_att.gate_s.gate_s_conv_final.weight": "attention3.spatial.conv3.weight",
        },
    ),
    "sk lists": Case(
        name="sknet-pytorch",
        shapes={
            "basic_conv.0.weight": (64, 3, 7, 7),
            "stage_1.0.conv2_sk.convs.0.0.weight": (128, 4, 3, 3),
            "stage_1.0.conv2_sk.fcs.0.weight": (128, 32, 1, 1),
        },
        ours={
            "basic_conv.1.bias": "bn1.bias",
            "stage_1.0.conv1.0.weight": "layer1.0.conv1.weight",
            "stage_2.1.conv3.1.weight": "layer2.1.bn3.weight",
            "stage_1.0.conv2_sk.convs.1.1.bias": "layer1.0.conv2.paths.1.1.bias",
            "stage_1.0.conv2_sk.fc.0.weight": "layer1.0.conv2.gate.fc1.weight",
            "stage_1.0.conv2_sk.fc.1.weight": "layer1.0.conv2.gate.bn.weight",
            "stage_1.0.shortcut.1.weight": "layer1.0.downsample.1.weight",
            "classifier.bias": "fc.bias",
        },
    ),
    "an article's excitation": Case(
        name="generic",
        shapes={**PLAIN, "layer1.0.att.excitation.0.weight": (16, 256)},
        ours={"layer1.0.att.excitation.2.weight": "layer1.0.attention.gate.fc2.weight"},
        form=None,
    ),
    "an article's 1x1 convolutions": Case(
        name="generic",
        shapes={**PLAIN, "layer1.0.attention.fc1.weight": (16, 256, 1, 1)},
        ours={"layer1.0.attention.fc2.weight": "layer1.0.attention.gate.fc2.weight"},
        form=None,
    ),
    "an article's eca": Case(
        name="generic",
        shapes={**PLAIN, "layer1.0.attn.conv.weight": (1, 1, 3)},
        ours={"layer1.0.attn.conv.weight": "layer1.0.attention.gate.conv.weight"},
        form=None,
    ),
    "se with the names of timm but linear": Case(
        name="generic",
        shapes={**PLAIN, "layer1.0.se.fc1.weight": (16, 256), "layer1.0.se.fc1.bias": (16,)},
        ours={"layer1.0.se.fc1.bias": "layer1.0.attention.gate.fc1.bias"},
        form=None,
    ),
    "se in mobilenet": Case(
        name="generic",
        shapes={**MOBILE, "features.1.conv.3.fc.0.weight": (2, 16)},
        ours={
            "features.2.conv.4.fc.2.weight": "features.2.attention.gate.fc2.weight",
            "classifier.1.bias": "classifier.1.bias",
        },
        form=None,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_project_s_keys_are_recognised(case: Case) -> None:
    """Its layout, the form that it implies, and our names."""
    layout = recognise(zeros(case.shapes))
    assert (layout.name, layout.form) == (case.name, case.form)
    assert {key: layout.renamed(key) for key in case.ours} == case.ours


SMALLEST = {
    (row.family, row.attention, row.form): row.name
    for row in sorted(zoo.TABLE.values(), key=lambda row: row.parameters, reverse=True)
    if row.family != "senet"  # which is large, and a ResNet by its names
}
"""Of each kind of net that there is."""


@pytest.mark.parametrize("name", SMALLEST.values())
def test_our_own_names_are_recognised_and_stay(name: str) -> None:
    """Of every kind of net of the zoo; plain ones have the names of torchvision."""
    row = zoo.get(name)
    with torch.device("meta"):
        weights = row.build(2).state_dict()
    layout = recognise(weights)
    assert layout.name in {"attnserve", "torchvision"}
    assert [layout.renamed(key) for key in weights] == list(weights)
    if zoo.twin(row) is not None:
        assert layout.form is None


def test_the_layouts_of_weights_that_are_known_to_exist_are_known() -> None:
    """So that what the zoo's table promises can be loaded."""
    named = {known.layout for known in chain(*(row.weights for row in zoo.TABLE.values()))} - {None}
    assert named
    assert named <= {layout.name for layout in LAYOUTS}


def test_timm_s_inputs_to_the_weights_of_places_are_swapped() -> None:
    """The mean is first there, the maximum here (as in Woo et al.'s code); other weights stay."""
    weights = zeros(CASES["timm cbam"].shapes)
    places = torch.arange(98.0).reshape(1, 2, 7, 7)
    changed = recognise(weights).transform(
        {"layer1.0.attention.spatial.conv.weight": places, "conv1.weight": torch.ones(64, 3, 7, 7)}
    )
    swapped = changed["layer1.0.attention.spatial.conv.weight"]
    assert torch.equal(swapped[:, 0], places[:, 1])
    assert torch.equal(swapped[:, 1], places[:, 0])
    assert torch.equal(changed["conv1.weight"], torch.ones(64, 3, 7, 7))


def test_the_branches_of_sk_are_put_together_in_their_order() -> None:
    """First all channels of the first branch, then all of the second; ten comes after two."""
    branches = {
        f"layer1.0.conv2.gate.fcs.{index}.weight": torch.full((3, 2), float(index)) for index in (10, 0, 2)
    }
    joined = recognise(zeros(CASES["sk lists"].shapes)).transform({**branches, "fc.bias": torch.ones(1)})
    assert list(joined) == ["fc.bias", "layer1.0.conv2.gate.fc2.weight"]
    assert joined["layer1.0.conv2.gate.fc2.weight"][:, 0].tolist() == [0.0] * 3 + [2.0] * 3 + [10.0] * 3


def test_biases_of_the_branches_of_sk_are_put_together_too() -> None:
    """The paper's attention has none (Li et al., equation 5); left out, they would change the answers."""
    biases = {f"layer3.1.conv2.gate.fcs.{index}.bias": torch.full((2,), float(index)) for index in (1, 0)}
    joined = recognise(zeros(CASES["sk lists"].shapes)).transform(biases)
    assert list(joined) == ["layer3.1.conv2.gate.fc2.bias"]
    assert joined["layer3.1.conv2.gate.fc2.bias"].tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "shapes",
    [
        {"blocks.0.attn.qkv.weight": (3, 3), "head.weight": (2, 3), "patch_embed.proj.weight": (3, 3, 4, 4)},
        {"fc.weight": (2, 3)},
        {},
    ],
    ids=["a transformer", "a single layer", "nothing"],
)
def test_what_no_project_writes_is_refused(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """The message shows some keys and all layouts that would do."""
    with pytest.raises(InputError, match="unknown layout") as caught:
        recognise(zeros(shapes))
    assert all(layout.name in str(caught.value) for layout in LAYOUTS)
    assert all(key in str(caught.value) for key in shapes)
