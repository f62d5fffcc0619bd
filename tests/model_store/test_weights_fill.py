"""Filling a net: its settings are read from the weights, and each mistake is answered with the layer's name.

That the answers are right is proven in test_weights_foreign.py, by nets that others defined.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model_store.errors import InputError
from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.residual import BasicBlock, BlockStyle, Bottleneck
from model_store.nets.resnet import ResNet, cifar_stem
from model_store.nets.se import SqueezeExcitation
from model_store.weights.fill import Filled
from tests.model_store.filling import CLASSES, Weights, filled, renamed, weights_of

C20 = ResNet(block=BasicBlock, depths=(3, 3, 3), planes=(16, 32, 64), stem=cifar_stem)
R18 = ResNet(block=BasicBlock, depths=(2, 2, 2, 2))


def require_loaded(found: Filled, weights: Mapping[str, Tensor]) -> None:
    """Refuse a net that does not hold these values, whatever they are called, in this order."""
    held = found.net.state_dict()
    assert len(held) == len(weights)
    for ours, given in zip(held.values(), weights.values(), strict=True):
        assert torch.equal(ours.flatten(), given.flatten())


# --- what fits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits_plain", "digits_se", "digits_eca", "digits_sk", "resnet20"])
def test_our_own_weights_fill_their_net(name: str) -> None:
    """All of them, with nothing to report."""
    weights = weights_of(name)
    found = filled(name, weights)
    require_loaded(found, weights)
    assert (dict(found.settings), found.row.name, found.net.training) == ({}, name, False)


def test_a_linear_layer_and_a_1x1_convolution_are_the_same() -> None:
    """[o, i] and [o, i, 1, 1] both load into whatever the row has."""
    weights = weights_of("digits_se")
    convolutions = {
        key: value[:, :, None, None] if ".fc" in key and value.ndim == 2 else value
        for key, value in weights.items()
    }
    found = filled("digits_se", convolutions)
    require_loaded(found, weights)
    assert not found.settings


def test_missing_biases_make_the_net_without_them() -> None:
    """And where the zoo has a row for it, that is the row."""
    net = replace(R18, style=BlockStyle(attention=lambda c: SqueezeExcitation(c, bias=False)))
    weights = renamed(net.build(CLASSES).state_dict(), "attention.gate.fc1", "se.fc.0")
    weights = renamed(weights, "attention.gate.fc2", "se.fc.2")
    found = filled("se_resnet18", weights)
    require_loaded(found, weights)
    assert (found.layout.name, dict(found.settings)) == ("moskomule", {"biases": "no"})
    assert found.row.name == "se_resnet18"


@pytest.mark.parametrize(
    ("sizes", "row", "told"),
    [
        ((3, 5, 7, 7), "eca_resnet18_k3577", "3 in layer1, 5 in layer2, 7 in layer3, 7 in layer4"),
        ((9, 9, 9, 9), "eca_resnet18", "9"),
    ],
    ids=["a row of its own", "no such row"],
)
def test_kernel_sizes_are_read_from_the_weights(sizes: tuple[int, ...], row: str, told: str) -> None:
    """The row asked for has k by the formula; one with the file's sizes is named where the zoo has it."""
    of_width = dict(zip((64, 128, 256, 512), sizes, strict=True))
    style = BlockStyle(attention=lambda c: EfficientChannelAttention(c, of_width[c]))
    weights = renamed(replace(R18, style=style).build(CLASSES).state_dict(), "attention.gate", "eca")
    found = filled("eca_resnet18", weights)
    require_loaded(found, weights)
    assert dict(found.settings) == {"kernel_size": told}
    assert found.row.name == row


def test_hidden_widths_are_read_from_the_weights() -> None:
    """A reduction by 4 leaves 4, 8 and 16 units in ResNet-20's stages, which is another row."""
    style = BlockStyle(attention=lambda c: SqueezeExcitation(c, reduction=4, bias=False))
    weights = renamed(replace(C20, style=style).build(CLASSES).state_dict(), "attention.gate.fc1", "se.fc.0")
    weights = renamed(weights, "attention.gate.fc2", "se.fc.2")
    found = filled("se_resnet20", weights)
    require_loaded(found, weights)
    assert dict(found.settings) == {"hidden": "4 in layer1, 8 in layer2, 16 in layer3"}
    assert found.row.name == "se_resnet20_r4"


def test_settings_that_differ_within_a_stage_are_told_block_by_block() -> None:
    """One odd kernel among equal ones is not hidden by a summary."""
    weights = weights_of("digits_eca")
    deeper = weights_of("eca_resnet20")
    deeper["layer2.1.attention.gate.conv.weight"] = torch.ones(1, 1, 7)
    assert not filled("digits_eca", weights).settings
    told = filled("eca_resnet20", deeper).settings["kernel_size"]
    assert "3 in layer2.0.attention, 7 in layer2.1.attention, 3 in layer2.2.attention" in told


@pytest.mark.slow
def test_squeezing_by_the_maximum_is_not_mistaken_for_the_mean() -> None:
    """Two rows whose weights have the same shapes stay apart: the graph is that of the one asked for."""
    weights = renamed(weights_of("se_resnet50"), "attention.gate", "se")
    found = filled("se_resnet50_max", weights, form="torch")
    assert set(found.settings) == {"biases"}
    assert found.row.name == "se_resnet50_max"


@pytest.mark.slow
def test_a_class_of_one_s_own_may_stand_in_any_place() -> None:
    """Its name cannot tell; the row that is asked for does."""
    style = BlockStyle(attention=lambda c: SqueezeExcitation(c, bias=False), position="3x3")
    net = ResNet(block=Bottleneck, depths=(3, 4, 6, 3), style=style).build(CLASSES)
    weights = renamed(net.state_dict(), "attention_3x3.gate", "my_attention")
    require_loaded(filled("se_resnet50_3x3", weights, form="torch"), weights)


# --- what does not fit ------------------------------------------------------------------------------------


def moskomule(weights: Weights) -> Weights:
    """Weights of an SE-ResNet for CIFAR as senet.pytorch names them."""
    return renamed(renamed(weights, "attention.gate.fc1", "se.fc.0"), "attention.gate.fc2", "se.fc.2")


FC1 = "layer2.0.se.fc.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda it: it.pop("layer1.1.conv2.weight"),
            r"do not fit the architecture; 1 missing: layer1\.1\.conv2\.weight$",
        ),
        (lambda it: it.update({"layer9.0.more": torch.ones(1)}), r"1 unexpected: layer9\.0\.more$"),
        (
            lambda it: it.update({"layer1.0.conv1.weight": torch.ones(16, 16, 5, 5)}),
            r"layer1\.0\.conv1\.weight: expected \[16, 16, 3, 3\], found \[16, 16, 5, 5\]$",
        ),
        (
            lambda it: it.update({"layer2.0.se.fc.2.weight": torch.ones(32, 9)}),
            r"layer2\.0\.se\.fc\.2\.weight in the file\): expected \[32, 2\], found \[32, 9\]$",
        ),
        (
            lambda it: it.update({FC1: torch.ones(0, 32)}),
            r"layer2\.0\.attention\.gate\.fc1\.weight \(.* in the file\): hidden must be at least 1, got 0$",
        ),
        (
            lambda it: it.update({"fc.weight": torch.ones(7, 64)}),
            r"labels: 10 given, but fc\.weight has 7 classes",
        ),
        (
            lambda it: [it.pop(f"layer{stage}.0.bn1.bias") for stage in (1, 2, 3)] + [it.pop("bn1.bias")],
            r"4 missing: bn1\.bias, layer1\.0\.bn1\.bias, layer2\.0\.bn1\.bias, \.\.\.$",
        ),
    ],
    ids=[
        "missing",
        "extra",
        "shape",
        "shape of a renamed one",
        "no hidden unit",
        "classes",
        "many",
    ],
)
def test_what_does_not_fit_is_named(change: Callable[[Weights], object], message: str) -> None:
    """The layer, what was expected, what was found, and the name in the file where that is another."""
    weights = moskomule(weights_of("se_resnet20"))
    change(weights)
    with pytest.raises(InputError, match=message):
        filled("se_resnet20", weights)


def test_an_even_kernel_is_refused() -> None:
    """No channel would be at its centre (Wang et al., section 3.2); the layer and k are named."""
    weights = renamed(weights_of("eca_resnet20"), "attention.gate", "eca")
    weights["layer3.1.eca.conv.weight"] = torch.ones(1, 1, 4)
    with pytest.raises(InputError, match=r"layer3\.1\.eca\.conv\.weight in the file\): kernel_size .* got 4"):
        filled("eca_resnet20", weights)


def test_weights_of_another_net_are_refused() -> None:
    """The message is short, however much differs."""
    with pytest.raises(InputError, match=r"missing: .*unexpected: ") as caught:
        filled("resnet32", weights_of("se_resnet20"))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["digits_plain", "digits_se", "resnet20"])
def test_the_layer_of_the_classes_may_be_in_a_sequence(name: str) -> None:
    """As after `net.fc = nn.Sequential(nn.Dropout(), nn.Linear(...))`: a dropout serves nobody."""
    weights = weights_of(name)
    require_loaded(filled(name, renamed(weights, "fc.weight", "fc.1.weight")), weights)
    require_loaded(filled(name, renamed(renamed(weights, "fc.w", "fc.1.w"), "fc.b", "fc.1.b")), weights)


def test_a_sequence_of_two_layers_at_the_end_is_refused() -> None:
    """The zoo's nets have one there; both are named."""
    weights = renamed(renamed(weights_of("resnet20"), "fc.w", "fc.3.w"), "fc.b", "fc.3.b")
    hidden = {"fc.0.weight": torch.ones(64, 64), "fc.0.bias": torch.ones(64)}
    with pytest.raises(InputError, match=r"fc\.3\.weight and fc\.0\.weight are both fc\.weight"):
        filled("resnet20", {**weights, **hidden})


def test_two_weights_for_one_place_are_refused() -> None:
    """Both are named: one of them would be lost."""
    weights = renamed(weights_of("se_resnet20"), "attention.gate", "first")
    weights["layer1.0.second.fc1.weight"] = torch.ones(1, 16)
    message = r"layer1\.0\.first\.fc1\.weight and layer1\.0\.second\.fc1\.weight are both"
    with pytest.raises(InputError, match=message):
        filled("se_resnet20", weights)
