"""What was published about the nets: each table of a paper or a repository, by the names of the zoo.

All of it is others' measurement on others' training; tables differ in training, so nets are best compared
within one of them. The SE paper's nets of tables 2 and 10 to 15 are of the Caffe form: its 3.86 GFLOPs of
ResNet-50 are those of a stride on the first 1x1 convolution.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Final, TypeAlias

from model_store.zoo.parts import HE, HU, LI, WANG, XIE
from model_store.zoo.row import Published

_Figures: TypeAlias = tuple[float, float] | float
"""Top-1 and top-5, or top-1 alone, in per cent."""
_Table: TypeAlias = Mapping[str, Published]


def _accuracies(source: str, **rows: _Figures) -> _Table:
    """Transcribe a table of accuracies."""
    return {name: _published(figures, source) for name, figures in rows.items()}


def _errors(source: str, **rows: _Figures) -> _Table:
    """Transcribe a table of errors."""
    return {name: _published(_complement(figures), source) for name, figures in rows.items()}


def _published(figures: _Figures, source: str) -> Published:
    top1, top5 = figures if isinstance(figures, tuple) else (figures, None)
    return Published(top1=top1, top5=top5, source=source)


def _complement(figures: _Figures) -> _Figures:
    """Turn errors into accuracies."""
    if isinstance(figures, tuple):
        return round(100 - figures[0], 3), round(100 - figures[1], 3)
    return round(100 - figures, 3)


_HU_2: Final[Mapping[str, _Figures]] = {
    "se_resnet50": (23.29, 6.62),
    "se_resnet101": (22.38, 6.07),
    "se_resnet152": (21.57, 5.73),
    "se_resnext50_32x4d": (21.10, 5.49),
    "se_resnext101_32x4d": (20.70, 5.01),
}
_LI_2: Final[Mapping[str, _Figures]] = {"sknet50": 20.79, "sknet101": 20.19}


def _caffe(table: Mapping[str, _Figures]) -> Mapping[str, _Figures]:
    """Return the same figures for the rows of the Caffe form."""
    return {f"{name}_caffe": figures for name, figures in table.items()}


# The first table that has a net is the one that stands for it.
_TABLES: Final = (
    _accuracies(
        f"{HE}, table 6, shortcuts without weights",
        resnet20=91.25,
        resnet32=92.49,
        resnet56=93.03,
        resnet110=93.57,
    ),
    _errors(f"{XIE}, table 7, CIFAR-10", resnext29_8x64d=3.65, resnext29_16x64d=3.58),
    _errors(f"{HU}, table 2", **_caffe(_HU_2), se_bn_inception=(24.23, 7.14)),
    _errors(f"{HU}, table 2, in the Caffe form", **_HU_2),
    _errors(
        f"{HU}, table 2, as re-trained there in the Caffe form",
        resnet50=(24.80, 7.48),
        resnet101=(23.17, 6.52),
        resnet152=(22.42, 6.34),
        resnext50_32x4d=(22.11, 5.90),
        resnext101_32x4d=(21.18, 5.57),
        bn_inception=(25.38, 7.89),
    ),
    _errors(f"{HU}, table 4", resnet110=6.37, se_resnet110=5.21),
    _errors(
        f"{HU}, table 10, in the Caffe form",
        se_resnet50_nobias=(22.28, 6.03),
        se_resnet50_r2=(22.29, 6.00),
        se_resnet50_r4=(22.25, 6.09),
        se_resnet50_r8=(22.26, 5.99),
        se_resnet50_r32=(22.72, 6.20),
        resnet50=(23.30, 6.55),
    ),
    _errors(f"{HU}, table 11, in the Caffe form", se_resnet50_max=(22.57, 6.09)),
    _errors(
        f"{HU}, table 13, in the Caffe form",
        se_resnet50_stage2=(23.03, 6.48),
        se_resnet50_stage3=(23.04, 6.32),
        se_resnet50_stage4=(22.68, 6.22),
    ),
    _errors(
        f"{HU}, table 14, in the Caffe form",
        se_resnet50_pre=(22.23, 6.00),
        se_resnet50_post=(22.78, 6.35),
        se_resnet50_identity=(22.20, 6.15),
    ),
    _errors(f"{HU}, table 15, in the Caffe form", se_resnet50_3x3=(22.48, 6.02)),
    _errors(
        f"{HU}, the authors' repository, table 1",
        se_resnet50_caffe=(22.37, 6.36),
        se_resnet101_caffe=(21.75, 5.72),
        se_resnet152_caffe=(21.34, 5.54),
        se_resnext50_32x4d_caffe=(20.97, 5.54),
        se_resnext101_32x4d_caffe=(19.81, 4.96),
        se_bn_inception=(23.62, 7.04),
        senet154_caffe=(18.68, 4.47),
    ),
    _errors(f"{HU}, in the Caffe form", senet154=(18.68, 4.47)),
    _errors(f"{HU}, at 320x320 pixels", senet154_caffe=(17.28, 3.79)),
    _accuracies(
        "Cadene/pretrained-models.pytorch, README",
        se_resnet50_caffe=(77.636, 93.752),
        se_resnet101_caffe=(78.396, 94.258),
        se_resnet152_caffe=(78.658, 94.374),
        se_resnext50_32x4d_caffe=(79.076, 94.434),
        se_resnext101_32x4d_caffe=(80.236, 95.028),
        senet154_caffe=(81.304, 95.498),
        bn_inception=(73.524, 91.562),
    ),
    _accuracies(
        f"{WANG}, table 2",
        se_resnet50_var1=(76.00, 92.90),
        se_resnet50_var2=(77.07, 93.31),
        se_resnet50_var3=(77.42, 93.64),
        se_resnet50_gc1=(76.95, 93.47),
        se_resnet50_gc2=(76.98, 93.31),
        se_resnet50_gc3=(76.96, 93.38),
        eca_resnet50_ns=(77.35, 93.61),
        eca_resnet50_k3=(77.43, 93.65),
    ),
    _accuracies(
        f"{WANG}, table 3",
        eca_resnet50_k3557=(77.48, 93.68),
        eca_resnet101_k3357=(78.65, 94.34),
        eca_resnet152_k3357=(78.92, 94.55),
        resnet50=(75.20, 92.52),
        resnet101=(76.83, 93.48),
        resnet152=(77.58, 93.66),
        se_resnet50_nobias=(76.71, 93.38),
        mobilenet_v2=(71.64, 90.20),
        se_mobilenet_v2=(72.42, 90.67),
        eca_mobilenet_v2_k13=(72.56, 90.81),
        cbam_resnet50=(77.34, 93.69),
    ),
    _accuracies(
        f"{WANG}, table 3, without biases",
        se_resnet101=(77.62, 93.93),
        se_resnet152=(78.43, 94.27),
    ),
    _accuracies(
        f"{WANG}, the authors' repository",
        eca_resnet18_k3577=(70.92, 89.93),
        eca_resnet34_k3357=(74.21, 91.83),
        eca_resnet50_k3557=(77.42, 93.62),
    ),
    _errors(f"{LI}, table 2", **_caffe(_LI_2)),
    _errors(f"{LI}, table 2, in the Caffe form", **_LI_2),
    _errors(
        f"{LI}, table 2, as re-trained there in the Caffe form",
        resnext50_32x4d=22.23,
        resnext101_32x4d=21.11,
        se_resnext50_32x4d=21.12,
        se_resnext101_32x4d=20.58,
    ),
    _errors(f"{LI}, CIFAR-10", sknet29=3.47),
    _errors(
        "osmr/imgclsmob, README, CIFAR-10, SE with biases",
        se_resnet20=6.01,
        se_resnet56=4.13,
        se_resnet110=3.63,
    ),
    _errors(
        "osmr/imgclsmob, README, CIFAR-10",
        resnet20=5.97,
        resnet56=4.52,
        resnet110=3.69,
        resnext29_16x64d=2.41,
    ),
    _accuracies("moskomule/senet.pytorch, README, CIFAR-10, r = 4 or 8", se_resnet20_r4=93.0),
    _accuracies("moskomule/senet.pytorch, README", se_resnet50_nobias=77.06),
    _accuracies(
        "torchvision, IMAGENET1K_V1 weights",
        resnet18=(69.758, 89.078),
        resnet34=(73.314, 91.420),
        resnet50=(76.130, 92.862),
        resnet101=(77.374, 93.546),
        resnet152=(78.312, 94.046),
        resnext50_32x4d=(77.618, 93.698),
        mobilenet_v2=(71.878, 90.286),
    ),
    _accuracies(
        "Jongchan/attention-module, the authors' repository",
        cbam_resnet50=(77.622, 93.948),
        bam_resnet50=(76.860, 93.416),
    ),
    _errors(
        "osmr/imgclsmob, the authors' weights of attention-module, evaluated again",
        cbam_resnet50=(23.02, 6.38),
        bam_resnet50=(23.68, 6.96),
    ),
    _accuracies(
        "timm, results-imagenet.csv: the legacy weights",
        se_resnet18_caffe=(71.742, 90.340),
        se_resnet34_caffe=(74.788, 92.134),
        se_resnext26_32x4d_caffe=(77.100, 93.332),
    ),
    _accuracies(
        "timm, results-imagenet.csv: the gluon weights",
        resnext101_32x4d=(80.336, 94.908),
        se_resnext101_32x4d=(80.886, 95.268),
        senet154=(81.258, 95.358),
    ),
    _accuracies(
        "timm, results-imagenet.csv: the ra weights",
        sknet50=(80.168, 94.644),
        skresnet18=(73.020, 91.172),
        skresnet34=(76.956, 93.320),
    ),
    _accuracies(
        "timm, results-imagenet.csv: the ra2 weights",
        se_resnet50=(80.260, 95.068),
        ecaresnet26t=(78.894, 94.548),
        ecaresnet50t=(81.450, 95.678),
    ),
    _accuracies("timm, results-imagenet.csv: the racm weights", se_resnext50_32x4d=(81.268, 95.624)),
    _accuracies(
        "timm, results-imagenet.csv: the miil weights",
        ecaresnet50d=(80.634, 95.310),
        ecaresnet101d=(82.180, 96.062),
        ecaresnetlight=(80.454, 95.248),
    ),
)

NETS: Final = frozenset(chain(*_TABLES))
"""The names that some table has."""


def of(name: str) -> tuple[Published, ...]:
    """Return what was published about a net, the table of its own paper first."""
    return tuple(table[name] for table in _TABLES if name in table)
