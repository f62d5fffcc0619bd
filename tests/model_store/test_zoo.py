"""The zoo: exact parameter counts, complete rows, and nets that TorchScript reproduces."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from model_store import counts, zoo
from model_store.errors import InputError

SMALL_INPUT = {
    "resnet18": 64,
    "se_resnet18": 64,
    "eca_resnet18_k3577": 64,
    "se_resnext50_32x4d": 64,
    "sknet26": 64,
    "resnet20": 32,
    "digits_plain": 16,
    "digits_se": 16,
    "digits_eca": 16,
    "digits_sk": 16,
}

FORMS: Mapping[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "script": lambda net, _images: torch.jit.script(net),
    "trace": torch.jit.trace,
}


def with_random_statistics(net: nn.Module) -> nn.Module:
    """Give normalisation layers statistics as after training: fresh ones hide mistakes."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return net.eval()


@pytest.mark.parametrize("row", zoo.TABLE.values(), ids=lambda row: row.name)
def test_parameters_are_exactly_the_documented_ones(row: zoo.Row) -> None:
    """The count that a row states is the count of the net that it builds."""
    with torch.device("meta"):
        net = row.build(row.classes)
    assert counts.parameters(net) == row.parameters


@pytest.mark.parametrize("name", ["resnet50", "se_resnet50", "sknet26", "resnet20", "digits_eca"])
def test_number_of_classes_changes_the_last_layer_only(name: str) -> None:
    """A net of 7 classes differs from the documented one by the rows of its last layer."""
    row = zoo.get(name)
    with torch.device("meta"):
        documented, smaller = row.build(row.classes).state_dict(), row.build(7).state_dict()
    different = {key for key, value in documented.items() if value.shape != smaller[key].shape}
    assert different == {"fc.weight", "fc.bias"}
    assert smaller["fc.bias"].shape == (7,)


@pytest.mark.parametrize("row", zoo.TABLE.values(), ids=lambda row: row.name)
def test_rows_are_complete_and_consistent(row: zoo.Row) -> None:
    """A row is found by its name, tells its source, and has a recipe that fills the input."""
    assert zoo.get(row.name) is row
    assert row.attention in {"none", "se", "eca", "sk"}
    assert row.family in {"resnet", "resnext", "sknet"}
    assert row.source
    assert row.published_top1 is None or 50 < row.published_top1 < 100
    recipe = row.recipe
    assert all(side <= resized for side, resized in zip(recipe.input_size, recipe.resize_size, strict=True))
    assert recipe.resize_method == "shorter_side" or recipe.resize_size == recipe.input_size
    assert all(std > 0 for std in recipe.std)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "size"), SMALL_INPUT.items())
def test_torchscript_equals_eager_at_other_batch_sizes(form: str, name: str, size: int) -> None:
    """Scripted, or traced at batch 2, a net answers batches of 1 and 3 as it does eagerly."""
    torch.manual_seed(0)
    net = with_random_statistics(zoo.get(name).build(10))
    compiled = FORMS[form](net, torch.randn(2, 3, size, size))
    with torch.inference_mode():
        for count in (1, 3):
            images = torch.randn(count, 3, size, size)
            torch.testing.assert_close(compiled(images), net(images))


def test_rows_can_not_be_added_from_outside() -> None:
    """The table is read-only."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        zoo.TABLE["mine"] = zoo.get("resnet18")  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "near"), [("seresnet50", "se_resnet50"), ("resnet-50", "resnet50"), ("digits-se", "digits_se")]
)
def test_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    """The error shows what was asked for and offers names like it."""
    with pytest.raises(zoo.UnknownArchitectureError, match=f"{near}.*got '{name}'"):
        zoo.get(name)


def test_name_unlike_any_other_is_answered_with_examples() -> None:
    """Where nothing is near, the text still offers names; the error is the caller's fault."""
    with pytest.raises(zoo.UnknownArchitectureError, match=r"such as resnet18, .*got '%%'") as caught:
        zoo.get("%%")
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, InputError)
