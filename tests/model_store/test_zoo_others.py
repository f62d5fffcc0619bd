"""MobileNetV2, BN-Inception, SENet-154 and the attentions after SE: counts, places and forms."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import nn

from model_store import counts, zoo
from model_store.nets.bam import BottleneckAttention
from model_store.nets.cbam import ConvolutionalBlockAttention
from model_store.nets.gate import ChannelGate
from model_store.nets.scse import SpatialChannelSE
from model_store.zoo import others, parts

MOBILENET = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
"""Channels that come out of MobileNetV2's blocks: Sandler et al., table 2, each line n times."""

RESNET50 = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
"""The same of ResNet-50: He et al. 2015, table 1."""

PARAMETERS: Mapping[str, int] = {
    "mobilenet_v2": 3_504_872,  # torchvision's documentation of mobilenet_v2
    "se_mobilenet_v2": 3_504_872 + sum(2 * width * (width // 8) for width in MOBILENET),
    "eca_mobilenet_v2": 3_504_872 + sum(5 if width >= 128 else 3 for width in MOBILENET),
    "eca_mobilenet_v2_k13": 3_504_872 + 31,  # BangguWu/ECANet, eca_mobilenetv2.py
    "bn_inception": 11_285_224,  # SE-BN-Inception.prototxt without its SE layers
    "se_bn_inception": 11_931_622,  # SE-BN-Inception.prototxt
    "senet154": 115_088_984,  # timm, senet154
    "senet154_caffe": 115_088_984,  # timm, legacy_senet154
    "cbam_resnet50": 28_089_624,  # Jongchan/attention-module
    "bam_resnet50": 25_915_099,  # Jongchan/attention-module
    # cSE with r = 2: two layers with biases; sSE: one value a channel and a bias.
    "scse_resnet50": 25_557_032 + sum(width * width + width // 2 + width + width + 1 for width in RESNET50),
}

GIGA_MACS: Mapping[str, float] = {
    "mobilenet_v2": 0.30,  # torchvision's documentation, under GFLOPS
    "se_bn_inception": 2.033,  # SE-BN-Inception.prototxt, convolutions and linear layers
    "senet154": 20.69,  # SENet-154.prototxt, the same
    "senet154_caffe": 20.69,
}

SIZES_IN_TABLE_3 = {"mobilenet_v2": 3.34, "se_mobilenet_v2": 3.40, "eca_mobilenet_v2_k13": 3.34}
"""Millions of parameters in Wang et al. 2019, table 3, where a million is 2^20."""

GATES: Mapping[str, list[int]] = {
    "mobilenet_v2": [],
    "se_mobilenet_v2": MOBILENET,
    "eca_mobilenet_v2": MOBILENET,
    "eca_mobilenet_v2_k13": MOBILENET,
    "bn_inception": [],
    "se_bn_inception": [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024],
    "senet154": [256] * 3 + [512] * 8 + [1024] * 36 + [2048] * 3,
    "senet154_caffe": [256] * 3 + [512] * 8 + [1024] * 36 + [2048] * 3,
    "cbam_resnet50": RESNET50,
    "bam_resnet50": [256, 512, 1024],
    "scse_resnet50": RESNET50,
}
"""Channels of the gates in forward order: those of the papers' blocks."""

NAMES = [row.name for row in others.ROWS]
QUICK = {"mobilenet_v2", "se_bn_inception", "bam_resnet50"}


def shadow(name: str, classes: int = 1000) -> nn.Module:
    """Return a net without data, in eval mode."""
    with torch.device("meta"):
        return zoo.get(name).build(classes).eval()


def test_these_rows_are_in_the_table() -> None:
    """What this file tests is what users can ask for."""
    assert set(NAMES) == set(PARAMETERS) == set(GATES)
    assert set(NAMES) <= set(zoo.TABLE)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_source(name: str) -> None:
    """The net has exactly the documented number, and its row says so."""
    assert counts.parameters(shadow(name)) == zoo.get(name).parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", SIZES_IN_TABLE_3)
def test_sizes_are_those_of_the_eca_paper(name: str) -> None:
    """In units of 2^20 and rounded, they are the table's."""
    assert round(zoo.get(name).parameters / 2**20, 2) == SIZES_IN_TABLE_3[name]


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_multiply_adds_are_those_of_the_row(name: str) -> None:
    """Counted on 224x224 pixels, they are what the row says."""
    assert counts.macs(shadow(name), (224, 224)) == zoo.get(name).macs


@pytest.mark.parametrize("name", GIGA_MACS)
def test_multiply_adds_are_those_of_the_source(name: str) -> None:
    """Rounded like the source's figure, the row's is the same."""
    published = GIGA_MACS[name]
    assert zoo.get(name).macs / 1e9 == pytest.approx(published, abs=0.006 if published > 10 else 0.0008)


@pytest.mark.parametrize("name", NAMES)
def test_gates_are_those_of_the_papers_blocks(name: str) -> None:
    """One gate a block in forward order, each as wide as the features that it weighs."""
    gates = [module for module in shadow(name).modules() if isinstance(module, ChannelGate)]
    assert [gate.channels for gate in gates] == GATES[name]
    assert {gate.branches for gate in gates} <= {1}


def test_kernel_sizes_of_the_released_mobilenet() -> None:
    """One tap below 96 channels and three from there on; by the formula it is three, and five from 128 on."""
    sizes = {
        name: [value.shape[-1] for key, value in shadow(name).state_dict().items() if "gate.conv" in key]
        for name in ("eca_mobilenet_v2", "eca_mobilenet_v2_k13")
    }
    assert sizes["eca_mobilenet_v2_k13"] == [1] * 10 + [3] * 7
    assert sizes["eca_mobilenet_v2"] == [3] * 13 + [5] * 4


def test_bam_stands_between_the_stages() -> None:
    """After the first three stages, not after the last, and in no block."""
    parts = [name for name, _ in shadow("bam_resnet50").named_children()]
    assert parts[4:11] == [
        "layer1",
        "attention1",
        "layer2",
        "attention2",
        "layer3",
        "attention3",
        "layer4",
    ]


@pytest.mark.parametrize("name", ["cbam_resnet50", "scse_resnet50"])
def test_attention_stands_in_every_block_before_the_sum(name: str) -> None:
    """It is the block's part that ends the residual branch."""
    blocks = [f"layer{stage}.{i}" for stage, depth in enumerate((3, 4, 6, 3), start=1) for i in range(depth)]
    net = shadow(name)
    kind = type(net.get_submodule("layer1.0.attention"))
    attentions = [path for path, module in net.named_modules() if isinstance(module, kind)]
    assert attentions == [f"{block}.attention" for block in blocks]


@pytest.mark.parametrize("attention", [BottleneckAttention, ConvolutionalBlockAttention, SpatialChannelSE])
def test_fresh_weights_of_places_are_undecided(attention: type[nn.Module]) -> None:
    """The convolution with a single output is drawn over its inputs, so no place starts at 0 or 1."""
    torch.manual_seed(0)
    net = replace(parts.R50, depths=(1,), planes=(64,))
    block = parts.with_attention(net, attention).build(2).get_submodule("layer1.0.attention")
    (single,) = (
        module for module in block.modules() if isinstance(module, nn.Conv2d) and module.out_channels == 1
    )
    inputs = single.weight[0].numel()
    assert single.weight.detach().abs().max().item() <= inputs**-0.5


def test_senet154_is_as_its_authors_describe_it() -> None:
    """A stem of three 3x3 convolutions, halved first 1x1, 64 groups, 3x3 projections at a stride."""
    state = {key: tuple(value.shape) for key, value in shadow("senet154").state_dict().items()}
    assert [state[f"conv1.{index}.weight"] for index in (0, 3, 6)] == [
        (64, 3, 3, 3),
        (64, 64, 3, 3),
        (128, 64, 3, 3),
    ]
    assert state["layer2.0.conv1.weight"] == (256, 256, 1, 1)
    assert state["layer2.0.conv2.weight"] == (512, 256 // 64, 3, 3)
    assert state["layer2.0.conv3.weight"] == (512, 512, 1, 1)
    assert state["layer1.0.downsample.0.weight"] == (256, 128, 1, 1)
    assert state["layer2.0.downsample.0.weight"] == (512, 256, 3, 3)
    assert state["layer4.2.attention.gate.fc1.weight"][0] == 2048 // 16


def test_forms_of_senet154_differ_in_nothing_but_the_pooling() -> None:
    """Their weights have the same names and shapes; the stem's pooling alone is padded, or rounds up."""
    torch_form, caffe_form = shadow("senet154"), shadow("senet154_caffe")
    shapes = [
        {key: value.shape for key, value in net.state_dict().items()} for net in (torch_form, caffe_form)
    ]
    assert shapes[0] == shapes[1]
    difference = {
        path
        for (path, one), (_, other) in zip(
            torch_form.named_modules(), caffe_form.named_modules(), strict=True
        )
        if not list(one.children()) and repr(one) != repr(other)
    }
    assert difference == {"maxpool"}
    rows = torch.arange(6.0)[None, None, :, None].expand(1, 1, 6, 6)
    assert torch_form.get_submodule("maxpool")(rows)[0, 0, :, 0].tolist() == [1, 3, 5]
    assert caffe_form.get_submodule("maxpool")(rows)[0, 0, :, 0].tolist() == [2, 4, 5]


def test_twins() -> None:
    """SENet-154 exists in both forms, BN-Inception in Caffe's only."""
    assert zoo.twin(zoo.get("senet154")) is zoo.get("senet154_caffe")
    assert zoo.twin(zoo.get("senet154_caffe")) is zoo.get("senet154")
    for name in ("bn_inception", "se_bn_inception"):
        assert zoo.get(name).form == "caffe"
        assert zoo.twin(zoo.get(name)) is None


@pytest.mark.parametrize("name", NAMES)
def test_number_of_classes_changes_the_last_layer_only(name: str) -> None:
    """A net of 7 classes differs from the documented one by the rows of its last layer."""
    documented, smaller = shadow(name).state_dict(), shadow(name, 7).state_dict()
    different = {
        key: smaller[key].shape[0] for key, value in documented.items() if value.shape != smaller[key].shape
    }
    last = "classifier.1" if "mobilenet" in name else "fc"
    assert different == {f"{last}.weight": 7, f"{last}.bias": 7}
