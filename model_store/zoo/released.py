"""Where trained weights of the nets are known to exist, and under which licence.

None of them is part of this project.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from model_store.zoo.row import KnownWeights

_APACHE: Final = "Apache-2.0"
_BSD: Final = "BSD-3-Clause"
_MIT: Final = "MIT"


def _torchvision(net: str, *tags: str) -> tuple[KnownWeights, ...]:
    """Return torchvision's, whose licence is the one that timm states for them."""
    return tuple(
        KnownWeights(where=f"torchvision: {net}, {tag}", layout="torchvision", licence=_BSD) for tag in tags
    )


def _timm(net: str, *tags: str, layout: str = "timm") -> tuple[KnownWeights, ...]:
    """Return timm's."""
    return tuple(KnownWeights(where=f"timm: {net}.{tag}", layout=layout, licence=_APACHE) for tag in tags)


def _legacy(net: str) -> tuple[KnownWeights, ...]:
    """Return timm's of the Caffe form."""
    return _timm(f"legacy_{net}", "in1k", layout="cadene")


def _senet(name: str) -> tuple[KnownWeights, ...]:
    """Return those of the SE paper's authors."""
    return (KnownWeights(where=f"hujie-frank/SENet: {name}, Caffe model", layout=None, licence=_APACHE),)


def _cadene(net: str) -> tuple[KnownWeights, ...]:
    """Return those of the SE paper's authors as converted to PyTorch; nobody says what the licence became."""
    return (KnownWeights(where=f"Cadene/pretrained-models.pytorch: {net}", layout="cadene"),)


def _ecanet(name: str) -> tuple[KnownWeights, ...]:
    """Return those of the ECA paper's authors."""
    return (KnownWeights(where=f"BangguWu/ECANet: {name}", layout="ecanet", licence=_MIT),)


def _attention_module(net: str) -> tuple[KnownWeights, ...]:
    """Return those of CBAM's and BAM's authors."""
    return (KnownWeights(where=f"Jongchan/attention-module: {net}", layout="attention-module", licence=_MIT),)


def _sknet(name: str) -> tuple[KnownWeights, ...]:
    """Return those of the SK paper's authors."""
    return (KnownWeights(where=f"implus/SKNet: {name}, Caffe model", layout=None),)


_MOSKOMULE: Final = KnownWeights(
    where="moskomule/senet.pytorch: seresnet50-60a8950a85b2b.pkl", layout="moskomule", licence=_MIT
)
# Its convolutions have biases, and it wants blue first, not red, with values up to 255.
_BN_INCEPTION: Final = KnownWeights(where="Cadene/pretrained-models.pytorch: bninception", layout=None)

WEIGHTS: Final[Mapping[str, tuple[KnownWeights, ...]]] = MappingProxyType(
    {
        "resnet18": _torchvision("resnet18", "IMAGENET1K_V1"),
        "resnet34": _torchvision("resnet34", "IMAGENET1K_V1"),
        "resnet50": _torchvision("resnet50", "IMAGENET1K_V1", "IMAGENET1K_V2"),
        "resnet101": _torchvision("resnet101", "IMAGENET1K_V1", "IMAGENET1K_V2"),
        "resnet152": _torchvision("resnet152", "IMAGENET1K_V1", "IMAGENET1K_V2"),
        "resnext50_32x4d": _torchvision("resnext50_32x4d", "IMAGENET1K_V1", "IMAGENET1K_V2"),
        "resnext101_32x4d": _timm("resnext101_32x4d", "gluon_in1k", layout="torchvision"),
        "se_resnet50": _timm("seresnet50", "ra2_in1k", "a1_in1k", "a2_in1k", "a3_in1k"),
        "se_resnet50_nobias": (_MOSKOMULE,),
        "se_resnext50_32x4d": _timm("seresnext50_32x4d", "racm_in1k", "gluon_in1k"),
        "se_resnext101_32x4d": _timm("seresnext101_32x4d", "gluon_in1k"),
        "eca_resnet18_k3577": _ecanet("eca_resnet18_k3577"),
        "eca_resnet34_k3357": _ecanet("eca_resnet34_k3357"),
        "eca_resnet50_k3557": _ecanet("eca_resnet50_k3557"),
        "eca_resnet101_k3357": _ecanet("eca_resnet101_k3357"),
        "eca_resnet152_k3357": _ecanet("eca_resnet152_k3357"),
        "sknet50": _timm("skresnext50_32x4d", "ra_in1k"),
        "se_resnet18_caffe": _legacy("seresnet18"),
        "se_resnet34_caffe": _legacy("seresnet34"),
        "se_resnet50_caffe": (*_cadene("se_resnet50"), *_legacy("seresnet50"), *_senet("SE-ResNet-50")),
        "se_resnet101_caffe": (*_cadene("se_resnet101"), *_legacy("seresnet101"), *_senet("SE-ResNet-101")),
        "se_resnet152_caffe": (*_cadene("se_resnet152"), *_legacy("seresnet152"), *_senet("SE-ResNet-152")),
        "se_resnext26_32x4d_caffe": _legacy("seresnext26_32x4d"),
        "se_resnext50_32x4d_caffe": (
            *_cadene("se_resnext50_32x4d"),
            *_legacy("seresnext50_32x4d"),
            *_senet("SE-ResNeXt-50"),
        ),
        "se_resnext101_32x4d_caffe": (
            *_cadene("se_resnext101_32x4d"),
            *_legacy("seresnext101_32x4d"),
            *_senet("SE-ResNeXt-101"),
        ),
        "senet154": _timm("senet154", "gluon_in1k"),
        "senet154_caffe": (*_cadene("senet154"), *_legacy("senet154"), *_senet("SENet-154")),
        "bn_inception": (_BN_INCEPTION,),
        "se_bn_inception": _senet("SE-BN-Inception"),
        "mobilenet_v2": _torchvision("mobilenet_v2", "IMAGENET1K_V1", "IMAGENET1K_V2"),
        "eca_mobilenet_v2_k13": _ecanet("eca_mobilenetv2_k13"),
        "cbam_resnet50": _attention_module("ResNet50+CBAM"),
        "bam_resnet50": _attention_module("ResNet50+BAM"),
        "sknet50_caffe": _sknet("SKNet-50"),
        "sknet101_caffe": _sknet("SKNet-101"),
        "ecaresnet26t": _timm("ecaresnet26t", "ra2_in1k"),
        "ecaresnet50d": _timm("ecaresnet50d", "miil_in1k"),
        "ecaresnet50t": _timm("ecaresnet50t", "ra2_in1k", "a1_in1k", "a2_in1k", "a3_in1k"),
        "ecaresnet101d": _timm("ecaresnet101d", "miil_in1k"),
        "ecaresnetlight": _timm("ecaresnetlight", "miil_in1k"),
        "skresnet18": _timm("skresnet18", "ra_in1k"),
        "skresnet34": _timm("skresnet34", "ra_in1k"),
    }
)
"""Name of a net -> its weights, those that load without conversion by somebody else first."""
