"""The layouts that people's weights have, and how one is recognised.

Each entry is a fact about a project's code: what its keys look like, which graph its nets compute, what is
ordered differently. The first entry whose marks are all found is taken, so the more special ones come first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from model_store.errors import InputError
from model_store.weights.layout import Layout, Weights
from model_store.weights.transforms import branches_joined, maximum_first

_SHOWN: Final = 3
# The layer of the classes; who trained a net on may have put it into a sequence, after a dropout.
_HEAD: Final = r"^fc\.(?:\d+\.)?weight "
_BLOCK: Final = r"^(layer\d+\.\d+|features\.\d+)\."
# Where a block holds its attention: a residual one under any name that its layers do not have in torchvision;
# MobileNetV2's as the last part of the sequence `conv`, after two or three others and a normalisation.
_ATTENTION: Final = r"(?:(?!(?:conv\d*|bn\d*|downsample|shortcut)\.)\w+|conv\.[34])"


def _patterns(*texts: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text) for text in texts)


def _renames(table: Mapping[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in table.items())


OURS: Final = Layout(
    name="attnserve",
    title="a net of this zoo",
    marks=_patterns(r"(?:attention\w*|conv\d)\.gate\.|^attention1\.channel\.|^inception_3a\."),
    form=None,  # rows of both forms have the same names
)

GENERIC: Final = Layout(
    name="generic",
    title="an SE or ECA class of one's own in a ResNet with torchvision's names",
    marks=_patterns(
        rf"{_BLOCK}{_ATTENTION}\."
        r"(?:(?:excitation|fc)\.0|fc1|conv)\.weight \[(?:\d+, \d+(?:, 1, 1)?|\d+, 1, \d+)\]"
    ),
    renames=_renames(
        {
            rf"{_BLOCK}{_ATTENTION}\.(?:excitation|fc)\.0\.": r"\1.attention.gate.fc1.",
            rf"{_BLOCK}{_ATTENTION}\.(?:excitation|fc)\.2\.": r"\1.attention.gate.fc2.",
            rf"{_BLOCK}{_ATTENTION}\.(fc[12]|conv)\.": r"\1.attention.gate.\2.",
            rf"{_BLOCK}shortcut\.": r"\1.downsample.",
            r"^(?:linear|classifier|last_linear)\.(weight|bias)$": r"fc.\1",
        }
    ),
    form=None,
)

_CADENE: Final = {
    rf"{_BLOCK}se_module\.": r"\1.attention.gate.",
    r"^last_linear\.": "fc.",
}

_TIMM_IMAGES: Final = (
    "timm resizes bicubically for most of its nets, and some have another crop or size; "
    "say it with --preprocessing, or build with --timm, which knows"
)
_TIMM_TITLE: Final = "timm: seresnet*, seresnext*, senet154, ecaresnet*, skresn*, and resnet* with CBAM"

LAYOUTS: Final = (
    OURS,
    Layout(
        name="cadene",
        title="pretrained-models.pytorch and timm's legacy_*: SENet-154",
        marks=_patterns(r"^layer0\.conv3\.", r"^last_linear\.", r"\.se_module\.fc1\."),
        renames=_renames(
            {
                r"^layer0\.conv1\.": "conv1.0.",
                r"^layer0\.bn1\.": "conv1.1.",
                r"^layer0\.conv2\.": "conv1.3.",
                r"^layer0\.bn2\.": "conv1.4.",
                r"^layer0\.conv3\.": "conv1.6.",
                r"^layer0\.bn3\.": "bn1.",
                **_CADENE,
            }
        ),
        form="caffe",
    ),
    Layout(
        name="cadene",
        title="pretrained-models.pytorch and timm's legacy_*: SE-ResNet, SE-ResNeXt",
        marks=_patterns(r"^layer0\.conv1\.", r"^last_linear\.", r"\.se_module\.fc1\."),
        renames=_renames({r"^layer0\.": "", **_CADENE}),
        form="caffe",
    ),
    Layout(
        name="timm",
        title=_TIMM_TITLE,
        images=_TIMM_IMAGES,
        marks=_patterns(rf"{_BLOCK}se\.fc1\.weight \[\d+, \d+, 1, 1\]", rf"{_BLOCK}se\.fc1\.bias "),
        renames=_renames({rf"{_BLOCK}se\.": r"\1.attention.gate."}),
    ),
    Layout(
        name="timm",
        title=_TIMM_TITLE,
        images=_TIMM_IMAGES,
        marks=_patterns(rf"\.attn\.fc_reduce\.|\.se\.channel\.fc1\.|{_BLOCK}se\.conv\.weight \[1, 1, \d+\]"),
        renames=_renames(
            {
                # SK: a convolution and its normalisation are in one part, which holds both.
                r"\.(conv\d)\.attn\.fc_reduce\.": r".\1.gate.fc1.",
                r"\.(conv\d)\.attn\.bn\.": r".\1.gate.bn.",
                r"\.(conv\d)\.attn\.fc_select\.": r".\1.gate.fc2.",
                r"\.paths\.(\d+)\.conv\.": r".paths.\1.0.",
                r"\.paths\.(\d+)\.bn\.": r".paths.\1.1.",
                r"\.conv(\d)\.conv\.": r".conv\1.",
                r"\.conv(\d)\.bn\.": r".bn\1.",
                rf"{_BLOCK}se\.channel\.": r"\1.attention.gate.",
                rf"{_BLOCK}se\.spatial\.conv\.": r"\1.attention.spatial.",
                rf"{_BLOCK}se\.conv\.": r"\1.attention.gate.conv.",
            }
        ),
        transform=maximum_first,
    ),
    Layout(
        name="attention-module",
        title="attention-module: the authors' CBAM and BAM",
        marks=_patterns(r"\.cbam\.ChannelGate\.mlp\.1\.|^bam1\.channel_att\.gate_c\."),
        renames=_renames(
            {
                r"\.cbam\.ChannelGate\.mlp\.1\.": ".attention.gate.fc1.",
                r"\.cbam\.ChannelGate\.mlp\.3\.": ".attention.gate.fc2.",
                r"\.cbam\.SpatialGate\.spatial\.": ".attention.spatial.",
                r"^bam(\d)\.channel_att\.gate_c\.gate_c_fc_0\.": r"attention\1.channel.fc1.",
                r"^bam(\d)\.channel_att\.gate_c\.gate_c_bn_1\.": r"attention\1.channel.bn.",
                r"^bam(\d)\.channel_att\.gate_c\.gate_c_fc_final\.": r"attention\1.channel.fc2.",
                r"^bam(\d)\.spatial_att\.gate_s\.gate_s_(conv|bn)_reduce0\.": r"attention\1.spatial.\g<2>0.",
                r"^bam(\d)\.spatial_att\.gate_s\.gate_s_(conv|bn)_di_0\.": r"attention\1.spatial.\g<2>1.",
                r"^bam(\d)\.spatial_att\.gate_s\.gate_s_(conv|bn)_di_1\.": r"attention\1.spatial.\g<2>2.",
                r"^bam(\d)\.spatial_att\.gate_s\.gate_s_conv_final\.": r"attention\1.spatial.conv3.",
            }
        ),
    ),
    Layout(
        name="ecanet",
        title="ECANet: the authors' ECA-ResNets, ECA-NS and ECA-MobileNetV2",
        marks=_patterns(rf"{_BLOCK}(?:eca|conv\.[34])\.conv\.weight "),
        renames=_renames({rf"{_BLOCK}(?:eca|conv\.[34])\.conv\.": r"\1.attention.gate.conv."}),
    ),
    Layout(
        name="moskomule",
        title="senet.pytorch: SE-ResNets for ImageNet and CIFAR",
        marks=_patterns(rf"{_BLOCK}se\.fc\.0\.weight \[\d+, \d+\]", _HEAD),
        renames=_renames(
            {
                rf"{_BLOCK}se\.fc\.0\.": r"\1.attention.gate.fc1.",
                rf"{_BLOCK}se\.fc\.2\.": r"\1.attention.gate.fc2.",
            }
        ),
        form_is_certain=False,
    ),
    Layout(
        name="sknet-pytorch",
        title="SKNets whose branches have a linear layer each: convs, fc, fcs",
        marks=_patterns(r"\.convs\.0\.0\.weight ", r"\.fcs\.0\.weight "),
        renames=_renames(
            {
                r"^basic_conv\.0\.": "conv1.",
                r"^basic_conv\.1\.": "bn1.",
                r"^stage_(\d+)\.": r"layer\1.",
                rf"{_BLOCK}(\w+)\.convs\.(\d+)\.": r"\1.conv2.paths.\3.",
                rf"{_BLOCK}(?!conv[13]\.)(\w+)\.fc\.0\.": r"\1.conv2.gate.fc1.",
                rf"{_BLOCK}(?!conv[13]\.)(\w+)\.fc\.1\.": r"\1.conv2.gate.bn.",
                rf"{_BLOCK}(\w+)\.fcs\.": r"\1.conv2.gate.fcs.",
                rf"{_BLOCK}conv([13])\.0\.": r"\1.conv\2.",
                rf"{_BLOCK}conv([13])\.1\.": r"\1.bn\2.",
                rf"{_BLOCK}shortcut\.": r"\1.downsample.",
                r"^(?:classifier|linear)\.": "fc.",
            }
        ),
        transform=branches_joined,
    ),
    GENERIC,
    Layout(
        name="torchvision",
        title="torchvision: ResNet, ResNeXt, MobileNetV2; also timm's and this zoo's plain ones",
        marks=_patterns(
            r"^conv1\.(?:0\.)?weight |^features\.0\.0\.weight ",
            r"^layer1\.0\.conv1\.weight |^features\.1\.conv\.0\.0\.weight ",
            rf"{_HEAD}|^classifier\.1\.weight ",
        ),
    ),
)
"""Every layout that is known, in the order in which they are tried."""


def recognise(weights: Weights) -> Layout:
    """Tell by keys and shapes how weights are written.

    Raises:
        InputError: No layout has such keys; the message shows some and names the known layouts.
    """
    found = next((layout for layout in LAYOUTS if layout.fits(weights)), None)
    if found is None:
        known = ", ".join(dict.fromkeys(layout.name for layout in LAYOUTS))
        keys = ", ".join(list(weights)[:_SHOWN])
        raise InputError(
            f"checkpoint: unknown layout: {len(weights)} weights such as {keys}; known layouts are {known}"
        )
    return found
