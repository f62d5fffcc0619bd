"""The zoo beside what others counted: figures as papers, repositories and other libraries print them.

The rows state their own counts, and other tests prove them on the nets; here is where they came from.
"""

from collections.abc import Mapping

import pytest

from model_store import zoo

Figures = Mapping[str, float]

TIMM: Mapping[str, int] = {  # timm 1.0.31, counted on its own nets
    "se_resnet50": 28_088_024,
    "se_resnet101": 49_326_872,
    "se_resnet152": 66_821_848,
    "se_resnext50_32x4d": 27_559_896,
    "se_resnext101_32x4d": 48_955_416,
    "se_resnet18_caffe": 11_778_592,
    "se_resnet50_caffe": 28_088_024,
    "se_resnet101_caffe": 49_326_872,
    "se_resnet152_caffe": 66_821_848,
    "se_resnext26_32x4d_caffe": 16_790_280,
    "se_resnext50_32x4d_caffe": 27_559_896,
    "se_resnext101_32x4d_caffe": 48_955_416,
    "senet154": 115_088_984,
    "senet154_caffe": 115_088_984,
    "eca_resnet50": 25_557_118,
    "ecaresnet26t": 16_011_916,
    "ecaresnet50d": 25_576_350,
    "ecaresnet50t": 25_573_814,
    "ecaresnet101d": 44_568_563,
    "ecaresnetlight": 30_162_046,
    "skresnet18": 11_958_056,
    "skresnet34": 22_282_376,
    "skresnet50": 25_803_160,
    "skresnet50d": 25_822_392,
    "sknet50": 27_479_784,  # its skresnext50_32x4d
}
TORCHVISION: Mapping[str, int] = {  # its documentation
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "mobilenet_v2": 3_504_872,
}
AUTHORS_CODE: Mapping[str, int] = {  # counted on the nets of BangguWu/ECANet and Jongchan/attention-module
    "se_resnet50_nobias": 28_071_976,
    "eca_resnet18_k3577": 11_689_556,
    "eca_resnet34_k3357": 21_797_744,
    "eca_resnet50_k3557": 25_557_112,
    "eca_resnet101_k3357": 44_549_317,
    "eca_resnet152_k3357": 60_193_042,
    "eca_mobilenet_v2_k13": 3_504_903,
    "cbam_resnet50": 28_089_624,
    "bam_resnet50": 25_915_099,
}
PROTOTXT: Mapping[str, int] = {  # counted on the definitions of hujie-frank/SENet and implus/SKNet
    "bn_inception": 11_285_224,
    "se_bn_inception": 11_931_622,
    "sknet50_caffe": 27_479_784,
    "sknet101_caffe": 48_686_760,
}
IMGCLSMOB: Mapping[str, int] = {  # README of osmr/imgclsmob, CIFAR-10
    "resnet20": 272_474,
    "resnet56": 855_770,
    "resnet110": 1_730_714,
    "resnext29_16x64d": 68_155_210,
}
EXACT = [*TIMM.items(), *TORCHVISION.items(), *AUTHORS_CODE.items(), *PROTOTXT.items(), *IMGCLSMOB.items()]

# README of osmr/imgclsmob, CIFAR-10; its SE has biases, ours has none.
IMGCLSMOB_SE = {"se_resnet20": 274_847, "se_resnet56": 862_889, "se_resnet110": 1_744_952}

HU_MILLIONS: Figures = {  # Hu et al., tables 10, 13 and 15
    "resnet50": 25.6,
    "se_resnet50_r2": 45.7,
    "se_resnet50_r4": 35.7,
    "se_resnet50_r8": 30.7,
    "se_resnet50_nobias": 28.1,
    "se_resnet50_r32": 26.9,
    "se_resnet50_stage2": 25.6,
    "se_resnet50_stage3": 25.7,
    "se_resnet50_stage4": 26.4,
    "se_resnet50_3x3": 25.8,
}
LI_MILLIONS: Figures = {  # Li et al., table 2 and that of CIFAR
    "resnext50_32x4d": 25.0,
    "sknet50": 27.5,
    "sknet29": 27.7,
    "se_resnext29_8x64d": 35.0,  # what the paper calls SENet-29
}
XIE_MILLIONS: Figures = {"resnext29_8x64d": 34.4, "resnext29_16x64d": 68.1}  # Xie et al., table 7
WANG_MEBI: Figures = {  # Wang et al., table 3, and the authors' README: their M is 2^20
    "resnet50": 24.37,
    "resnet101": 42.49,
    "resnet152": 57.40,
    "se_resnet50_nobias": 26.77,
    "eca_resnet18_k3577": 11.15,
    "eca_resnet34_k3357": 20.79,
    "eca_resnet50_k3557": 24.37,
    "eca_resnet101_k3357": 42.49,
    "eca_resnet152_k3357": 57.40,
    "mobilenet_v2": 3.34,
    "se_mobilenet_v2": 3.40,
    "eca_mobilenet_v2_k13": 3.34,
}
WANG_WITHOUT_BIASES: Figures = {"se_resnet101": 47.01, "se_resnet152": 63.68}  # the same table

PROTOTXT_GMACS: Figures = {  # convolutions and linear layers of the authors' definitions
    "se_resnet50_caffe": 3.860,
    "se_resnet101_caffe": 7.575,
    "se_resnet152_caffe": 11.289,
    "se_resnext50_32x4d_caffe": 4.233,
    "se_resnext101_32x4d_caffe": 7.975,
    "se_bn_inception": 2.033,
    "sknet50_caffe": 4.463,
    "sknet101_caffe": 8.449,
    "sknet26": 2.587,
}
OTHER_GMACS: Figures = {
    # torchvision's documentation
    "resnet18": 1.81,
    "resnet34": 3.66,
    "resnet50": 4.09,
    "resnet101": 7.80,
    "resnet152": 11.51,
    "resnext50_32x4d": 4.23,
    "mobilenet_v2": 0.30,
    # Hu et al., table 2
    "resnext101_32x4d": 7.99,
    "bn_inception": 2.03,
    # Li et al., table 2
    "sknet50": 4.47,
    "sknet101": 8.46,
    # timm, results/benchmark-infer, which counts the other layers, too
    "se_resnet18": 1.82,
    "se_resnet34": 3.67,
    "se_resnet50": 4.11,
    "se_resnet101": 7.84,
    "se_resnet152": 11.57,
    "se_resnext50_32x4d": 4.26,
    "se_resnext101_32x4d": 8.02,
    "se_resnext26_32x4d_caffe": 2.49,
    "senet154": 20.77,
    "senet154_caffe": 20.77,
    "ecaresnet26t": 3.35,
    "ecaresnet50d": 4.35,
    "ecaresnet50t": 5.64,
    "ecaresnet101d": 8.08,
    "ecaresnetlight": 4.11,
    "skresnet18": 1.82,
    "skresnet34": 3.67,
    "skresnet50": 4.11,
    "skresnet50d": 4.36,
    # README of osmr/imgclsmob, likewise
    "resnet20": 0.04129,
    "resnet56": 0.12706,
    "resnet110": 0.25570,
    "resnext29_16x64d": 10.70934,
}

C_SUM = 3 * 256 + 4 * 512 + 6 * 1024 + 3 * 2048  # channels after ResNet-50's 16 blocks, added up
C_SQUARES = 3 * 256**2 + 4 * 512**2 + 6 * 1024**2 + 3 * 2048**2
RESNET50 = TORCHVISION["resnet50"]
ADDED_TO_RESNET50: Mapping[
    str, int
] = {  # Hu et al., equation 5; Wang et al., table 2: weights of a block of C
    "se_resnet50_nobias": 2 * C_SQUARES // 16,
    "se_resnet50_r2": 2 * C_SQUARES // 2,
    "se_resnet50_r4": 2 * C_SQUARES // 4,
    "se_resnet50_r8": 2 * C_SQUARES // 8,
    "se_resnet50_r32": 2 * C_SQUARES // 32,
    "se_resnet50_max": 2 * C_SQUARES // 16,
    "se_resnet50_post": 2 * C_SQUARES // 16,
    "se_resnet50_identity": 2 * C_SQUARES // 16,
    "se_resnet50_var1": 0,
    "se_resnet50_var2": C_SUM,
    "se_resnet50_var3": C_SQUARES,
    "se_resnet50_gc1": C_SQUARES // 16,
    "se_resnet50_gc2": 16 * C_SUM,
    "se_resnet50_gc3": 8 * C_SUM,
    "eca_resnet50_ns": 3 * C_SUM,
    "eca_resnet50_k3": 16 * 3,
    "eca_resnet50_k5": 16 * 5,
    "eca_resnet50_k7": 16 * 7,
    "eca_resnet50_k9": 16 * 9,
    "eca_resnet50_k3557": 80,  # Wang et al., abstract
}


@pytest.mark.parametrize(("name", "figure"), EXACT, ids=str)
def test_parameters_are_those_that_others_count(name: str, figure: int) -> None:
    """Exactly."""
    assert zoo.get(name).parameters == figure


@pytest.mark.parametrize(("name", "added"), ADDED_TO_RESNET50.items())
def test_attention_adds_what_its_formula_says(name: str, added: int) -> None:
    """The ablations have ResNet-50's parameters and those of 16 attentions."""
    assert zoo.get(name).parameters == RESNET50 + added


@pytest.mark.parametrize(("name", "figure"), IMGCLSMOB_SE.items())
def test_se_of_small_nets_with_biases_is_that_of_another_library(name: str, figure: int) -> None:
    """Biases are one number for each channel and for each hidden unit, C / 16."""
    depth = {"se_resnet20": 3, "se_resnet56": 9, "se_resnet110": 18}[name]
    biases = depth * sum(channels + channels // 16 for channels in (16, 32, 64))
    assert zoo.get(name).parameters + biases == figure


@pytest.mark.parametrize(
    ("name", "figure", "tolerance"),
    [
        *((name, figure, 0.12) for name, figure in HU_MILLIONS.items()),  # sums of rounded numbers
        *((name, figure, 0.06) for name, figure in {**LI_MILLIONS, **XIE_MILLIONS}.items()),
        ("sknet101", 48.9, 0.2),  # Li et al., table 2: neither equation 4 nor the released net has more
    ],
)
def test_parameters_are_what_the_papers_say_in_millions(name: str, figure: float, tolerance: float) -> None:
    """To the last digit that they print, as far as they round as we do."""
    assert zoo.get(name).parameters / 1e6 == pytest.approx(figure, abs=tolerance)


@pytest.mark.parametrize(("name", "figure"), WANG_MEBI.items())
def test_millions_of_the_eca_paper_are_of_two_to_the_twentieth(name: str, figure: float) -> None:
    """24.37 M of ResNet-50 there are 25.6 M elsewhere."""
    assert round(zoo.get(name).parameters / 2**20, 2) == figure


@pytest.mark.parametrize(("name", "figure"), WANG_WITHOUT_BIASES.items())
def test_se_of_the_eca_paper_has_no_biases(name: str, figure: float) -> None:
    """The deeper nets of its table are our rows less one number for each channel and hidden unit."""
    depths = {"se_resnet101": (3, 4, 23, 3), "se_resnet152": (3, 8, 36, 3)}[name]
    widths = zip(depths, (256, 512, 1024, 2048), strict=True)
    biases = sum(depth * (channels + channels // 16) for depth, channels in widths)
    assert round((zoo.get(name).parameters - biases) / 2**20, 2) == figure


@pytest.mark.parametrize(("name", "figure"), PROTOTXT_GMACS.items())
def test_macs_are_those_of_the_authors_definitions(name: str, figure: float) -> None:
    """To the last digit: the Caffe form has fewer, as the stride comes earlier."""
    assert round(zoo.get(name).macs / 1e9, 3) == figure


@pytest.mark.parametrize(("name", "figure"), OTHER_GMACS.items())
def test_macs_are_about_those_that_others_count(name: str, figure: float) -> None:
    """Within 1.2 %, for some count normalisation, pooling and activations as well."""
    assert zoo.get(name).macs / 1e9 == pytest.approx(figure, rel=0.012)


@pytest.mark.parametrize(
    ("name", "top1", "top5"),
    [
        ("se_resnet50_caffe", 76.71, 93.38),  # Hu et al., table 2
        ("se_resnet152_caffe", 78.43, 94.27),
        ("se_resnext101_32x4d_caffe", 79.30, 94.99),
        ("se_resnet50_nobias", 77.72, 93.97),  # Hu et al., table 10
        ("se_resnet50_identity", 77.80, 93.85),  # Hu et al., table 14
        ("se_resnet50_stage4", 77.32, 93.78),  # Hu et al., table 13
        ("eca_resnet50_k3557", 77.48, 93.68),  # Wang et al., table 3
        ("se_resnet50_var3", 77.42, 93.64),  # Wang et al., table 2
        ("sknet50", 79.21, None),  # Li et al., table 2
        ("resnet110", 93.57, None),  # He et al., table 6
        ("se_resnet110", 94.79, None),  # Hu et al., table 4
        ("se_resnet18", None, None),
        ("eca_resnet50", None, None),
        ("se_resnext29_8x64d", None, None),
    ],
)
def test_the_first_accuracy_is_that_of_the_net_s_own_paper(
    name: str, top1: float | None, top5: float | None
) -> None:
    """What stands for a row is what its authors published; where nobody did, nothing does."""
    row = zoo.get(name)
    assert row.published_top1 == top1
    if row.published:
        assert row.published[0].top5 == top5


def test_released_models_are_better_than_the_paper_s() -> None:
    """The SE authors trained again for longer: each released net with a figure has a second, better one."""
    nets = [name for name in PROTOTXT_GMACS if name.startswith("se_")]
    for name in nets:
        paper, released = zoo.get(name).published[:2]
        assert "repository" in released.source
        assert released.top1 > paper.top1, name
