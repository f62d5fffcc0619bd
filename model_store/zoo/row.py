"""What is known of a net: the row of the zoo's table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from model_store.errors import InputError

HeightWidth: TypeAlias = tuple[int, int]
PerChannel: TypeAlias = tuple[float, float, float]

Form: TypeAlias = Literal["torch", "caffe"]
"""Which of two graphs with weights of the same shapes: mixing them up ruins the answers silently.

"torch": a bottleneck's stride on its 3x3 convolution, and a stem's pooling padded by 1. "caffe": as the
authors of SE and SK released their nets, with the pooling rounded up instead, and the stride of an SE-ResNet
on the first 1x1 convolution.
"""


class UnknownArchitectureError(InputError, LookupError):
    """The caller asked for a name that is not in the table; the text has the nearest names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an image becomes the input of a net: the `input` object of signature.json.

    Attributes:
        input_size: height and width of the net's input, in pixels.
        resize_method: "stretch" to `resize_size` exactly, or "shorter_side" to resize_size[0], then crop.
        resize_size: height and width, in pixels.
        interpolation: "bilinear" or "bicubic".
        mean: of red, green and blue, subtracted from values in [0, 1].
        std: of red, green and blue, divided by.
    """

    input_size: HeightWidth
    resize_method: Literal["stretch", "shorter_side"]
    resize_size: HeightWidth
    interpolation: Literal["bilinear", "bicubic"]
    mean: PerChannel
    std: PerChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An accuracy that somebody published, in per cent, on one centre crop of the data set's test images.

    Attributes:
        top1: of the most probable class.
        top5: of the five most probable classes; None: not given.
        source: the publication and its table.
    """

    top1: float
    top5: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWeights:
    """Weights that exist somewhere.

    Attributes:
        where: the project, and the name that the weights have there.
        layout: how their keys are named: a layout of `model_store.weights`; None: no file that can be loaded.
        licence: under which they are given away; None: not said.
    """

    where: str
    layout: str | None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one net.

    Attributes:
        name: the name that users ask for.
        family: of the backbone: "resnet", "resnext", "sknet", "senet", "mobilenet", "inception".
        attention: "none", "se", "eca", "sk", "cbam", "bam", "scse".
        build: number of classes -> the net with fresh weights, FP32 [N, 3, H, W] to logits [N, classes].
        parameters: trainable numbers, with `classes` classes.
        macs: multiply-adds of the convolutions and linear layers for one image: what papers call FLOPs.
        classes: of the data set that the net is documented on.
        recipe: how its images are prepared.
        form: which of two graphs that no weight's shape tells apart.
        published: accuracies, the one of the net's own paper first; empty: none known.
        weights: where trained weights are known to exist; empty: nowhere.
        source: where the net is defined.
    """

    name: str
    family: str
    attention: str
    build: Callable[[int], nn.Module]
    parameters: int
    macs: int
    classes: int
    recipe: Recipe
    form: Form = "torch"
    published: tuple[Published, ...] = ()
    weights: tuple[KnownWeights, ...] = ()
    source: str

    @property
    def published_top1(self) -> float | None:
        """The accuracy that stands for the row, in per cent; None: none known."""
        return self.published[0].top1 if self.published else None
