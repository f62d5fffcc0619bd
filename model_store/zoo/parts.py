"""What the rows of several tables are made of: recipes, backbones, attentions, and papers."""

from dataclasses import dataclass, replace
from typing import Final, Protocol

from torch import nn

from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.residual import AttentionFactory, BasicBlock, BlockStyle, Bottleneck, ConvFactory
from model_store.nets.resnet import ResNet, cifar_stem
from model_store.nets.se import SqueezeExcitation
from model_store.nets.sk import SelectiveKernelConv
from model_store.zoo.row import Form, Recipe, Row

# --- recipes ----------------------------------------------------------------------------------------------

IMAGENET: Final = Recipe(
    input_size=(224, 224),
    resize_method="shorter_side",
    resize_size=(256, 256),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
BICUBIC: Final = replace(IMAGENET, interpolation="bicubic")
CIFAR: Final = Recipe(
    input_size=(32, 32),
    resize_method="stretch",
    resize_size=(32, 32),
    interpolation="bilinear",
    mean=(0.4914, 0.4822, 0.4465),  # of CIFAR-10's training images
    std=(0.2470, 0.2435, 0.2616),
)

# --- backbones --------------------------------------------------------------------------------------------

R18: Final = ResNet(block=BasicBlock, depths=(2, 2, 2, 2))
R26: Final = ResNet(block=Bottleneck, depths=(2, 2, 2, 2))
R34: Final = ResNet(block=BasicBlock, depths=(3, 4, 6, 3))
R50: Final = ResNet(block=Bottleneck, depths=(3, 4, 6, 3))
R101: Final = ResNet(block=Bottleneck, depths=(3, 4, 23, 3))
R152: Final = ResNet(block=Bottleneck, depths=(3, 8, 36, 3))
_32X4D: Final = BlockStyle(groups=32, base_width=4)
X26, X50, X101 = (replace(net, style=_32X4D) for net in (R26, R50, R101))
C20, C32, C56, C110 = (
    ResNet(block=BasicBlock, depths=(n, n, n), planes=(16, 32, 64), stem=cifar_stem) for n in (3, 5, 9, 18)
)


# --- attentions on residual backbones ---------------------------------------------------------------------


def with_attention(net: ResNet, attention: AttentionFactory) -> ResNet:
    """Add an attention to each block, in its standard place."""
    return replace(net, style=replace(net.style, attention=attention))


def with_se(net: ResNet, reduction: int = 16, *, bias: bool = True) -> ResNet:
    """Add SE."""
    return with_attention(net, lambda channels: SqueezeExcitation(channels, reduction, bias=bias))


def with_eca(net: ResNet, *kernel_sizes: int) -> ResNet:
    """Add ECA with one k for each stage, or with k by the formula where none is given."""
    if not kernel_sizes:
        return with_attention(net, EfficientChannelAttention)
    widths = [planes * net.block.expansion for planes in net.planes]
    kernel_size = dict(zip(widths, kernel_sizes, strict=True))
    return with_attention(net, lambda channels: EfficientChannelAttention(channels, kernel_size[channels]))


def with_sk(net: ResNet, conv: ConvFactory = SelectiveKernelConv) -> ResNet:
    """Replace the strided 3x3 convolutions, unless told otherwise by SK[2, 32, 16] with L = 32."""
    return replace(net, style=replace(net.style, conv=conv))


# --- papers -----------------------------------------------------------------------------------------------

HE: Final = "He et al. 2015, arXiv:1512.03385"
XIE: Final = "Xie et al. 2016, arXiv:1611.05431"
HU: Final = "Hu et al. 2017, arXiv:1709.01507"
WANG: Final = "Wang et al. 2019, arXiv:1910.03151"
LI: Final = "Li et al. 2019, arXiv:1903.06586"


# --- rows -------------------------------------------------------------------------------------------------


class Net(Protocol):
    """A recipe of a net."""

    def build(self, classes: int) -> nn.Module:
        """Make it with fresh weights: FP32 [N, 3, H, W] to logits [N, classes]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the rows of one family share; the fields are those of `Row`."""

    family: str
    attention: str
    source: str
    classes: int = 1000
    recipe: Recipe = IMAGENET
    form: Form = "torch"


def row(
    kind: Kind,
    name: str,
    net: Net,
    parameters: int,
    macs: int,
) -> Row:
    """Return one line of a table; what others know of the net is added to it later."""
    return Row(
        name=name,
        family=kind.family,
        attention=kind.attention,
        build=net.build,
        parameters=parameters,
        macs=macs,
        classes=kind.classes,
        recipe=kind.recipe,
        form=kind.form,
        source=kind.source,
    )
