"""What timm knows: its nets, how their images are prepared, their attention, the names of their classes.

timm is an optional extra and is imported when it is first asked. It has annotations that a strict check of
types does not pass, so it is handled as untyped here, and nowhere else.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import nn

from model_store.errors import BuildError, InputError, nearest
from model_store.zoo import Form, Recipe

ATTENTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BatNonLocalAttn": "bat",
        "CbamModule": "cbam",
        "CecaModule": "ceca",
        "EcaModule": "eca",
        "EffectiveSEModule": "ese",
        "GatherExcite": "ge",
        "GlobalContext": "gc",
        "LightCbamModule": "lcbam",
        "NonLocalAttn": "nl",
        "SEModule": "se",
        "SelectiveKernel": "sk",
        "SplitAttn": "splat",
        "SqueezeExcite": "se",
        "SqueezeExciteCl": "se",
    }
)
"""Class of a module of timm -> the kind of attention that it is, as timm abbreviates it."""

_INTERPOLATIONS: Final = ("bilinear", "bicubic")
_IMAGENET: Final = "in1k"  # part of the tag of weights for ImageNet's 1000 classes
_CHANNELS: Final = 3
_CUTOFF: Final = 0.3  # of timm's long names, with tags, those that share a part are near


def version() -> str:
    """Return timm's version.

    Raises:
        ModuleNotFoundError: timm, or what it needs, is not installed.
        BuildError: What it needs is damaged, or a build for another torch.
    """
    return str(_library("timm").__version__)


def config_of(name: str) -> dict[str, Any]:
    """Return what timm knows of a net and its weights: the fields of its PretrainedCfg.

    Args:
        name: With or without the tag of its weights, such as "seresnet50.a1_in1k".

    Raises:
        InputError: timm has no such net, or no such weights of it; the message has the nearest names.
    """
    timm = _library("timm")
    if not timm.is_model(name):
        near = nearest(name, timm.list_models(), cutoff=_CUTOFF)
        raise InputError(f"timm: {name!r} must be one of its nets, such as {near}")
    try:
        return dict(timm.models.get_pretrained_cfg(name).to_dict())
    except RuntimeError as error:
        architecture = name.partition(".")[0]
        known = nearest(name, timm.list_pretrained(f"{architecture}.*"), cutoff=_CUTOFF)
        raise InputError(
            f"timm: {name!r} must be a net and one of its weights, such as {known or architecture}"
        ) from error


def family_of(name: str) -> str:
    """Return the module of timm in which a net is defined, such as "resnet"."""
    module = _library("timm").models.model_entrypoint(name.partition(".")[0]).__module__
    return str(module).rpartition(".")[2]


def form_of(name: str) -> Form:
    """Tell which graph a net has: those of timm's `senet`, the legacy nets, have Caffe's pooling."""
    return "caffe" if family_of(name) == "senet" else "torch"


def make(name: str, classes: int) -> nn.Module:
    """Return a net with random weights."""
    net: nn.Module = _library("timm").create_model(name, num_classes=classes, exportable=True)
    return net


def require_weights(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a net for which timm has no weights.

    Raises:
        InputError: Naming the nearest that have.
    """
    if not (config.get("hf_hub_id") or config.get("url")):
        near = nearest(name, _library("timm").list_pretrained(), cutoff=_CUTOFF)
        raise InputError(f"timm: {name!r} must be a net with weights, such as {near}")


def fetch(name: str) -> nn.Module:
    """Return a net with timm's own weights, from the network or a cache.

    Raises:
        BuildError: They cannot be had now.
    """
    timm = _library("timm")
    try:
        with _quiet_hub():
            net: nn.Module = timm.create_model(name, pretrained=True, exportable=True)
    except (OSError, RuntimeError) as error:
        raise BuildError(f"timm: cannot fetch the weights of {name}: {_first_line(error)}") from error
    return net


def recipe_of(name: str, config: Mapping[str, Any]) -> Recipe:
    """Return how images are prepared, from timm's own configuration.

    timm resizes the shorter side to floor(size / crop_pct) and takes the centre (`center`), or squeezes the
    whole image into the square (`squash`, with crop_pct 1).

    Raises:
        InputError: The handler cannot do the same; the message names what it cannot.
    """
    data = _library("timm.data").resolve_data_config(pretrained_cfg=dict(config))
    (channels, height, width), crop, mode = data["input_size"], data["crop_pct"], data["crop_mode"]
    scaled = math.floor(height / crop), math.floor(width / crop)
    held = {
        f"input_size: {data['input_size']} must be {_CHANNELS} channels of a square": (
            channels == _CHANNELS and height == width
        ),
        f"interpolation: {data['interpolation']!r} must be one of {', '.join(_INTERPOLATIONS)}": (
            data["interpolation"] in _INTERPOLATIONS
        ),
        f"crop_mode: {mode!r} must be 'center', or 'squash' with crop_pct 1": (
            mode == "center" or (mode == "squash" and scaled == (height, width))
        ),
        f"crop_pct: {crop} must be at most 1": crop <= 1,
    }
    broken = next((rule for rule, holds in held.items() if not holds), None)
    if broken is not None:
        raise InputError(f"timm: {name}: {broken}; --preprocessing FILE can say otherwise")
    return Recipe(
        input_size=(height, width),
        resize_method="shorter_side" if mode == "center" else "stretch",
        resize_size=scaled,
        interpolation=data["interpolation"],
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def attention_of(net: nn.Module) -> str:
    """Tell the attention of a net of timm from its modules' classes.

    Returns:
        A kind, or several joined by "+"; "unknown" where there is only some other attention; "none".
    """
    classes = {type(module).__name__ for module in net.modules()}
    kinds = sorted({ATTENTIONS[name] for name in classes if name in ATTENTIONS})
    if kinds:
        return "+".join(kinds)
    return "unknown" if any("Att" in name for name in classes) else "none"


def labels_of(name: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of ImageNet's classes; two that have the same one also have their WordNet ids.

    Raises:
        InputError: The weights are not of ImageNet's 1000 classes.
    """
    if _IMAGENET not in (config.get("tag") or ""):
        raise InputError(f"--labels is required: timm does not name the classes of {name}")
    info = _library("timm.data").ImageNetInfo("imagenet-1k")
    texts = info.label_descriptions()
    times = Counter(texts)
    return tuple(
        text if times[text] == 1 else f"{text} ({wordnet_id})"
        for text, wordnet_id in zip(texts, info.label_names(), strict=True)
    )


def _library(name: str) -> Any:  # noqa: ANN401  see the module's docstring
    try:
        return importlib.import_module(name)
    except (RuntimeError, OSError) as error:
        raise BuildError(
            f"timm cannot be imported; its torchvision must be a build for torch {torch.__version__}: "
            f"{_first_line(error)}"
        ) from error


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Hold back the hub's lines on each attempt: the failure is told once."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
