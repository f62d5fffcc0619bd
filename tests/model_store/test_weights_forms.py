"""Which of two graphs weights belong to is told by layout, file or user, and never guessed."""

import pytest
import torch
from torch import nn

from model_store import zoo
from model_store.errors import InputError
from model_store.weights.fill import fill
from tests.model_store.filling import CLASSES, Weights, file_of, filled, renamed, weights_of


@pytest.fixture(scope="module")
def own_class() -> Weights:
    """An SE-ResNet-18 whose names tell nothing of stride and pooling."""
    return renamed(weights_of("se_resnet18"), "attention.gate", "att")


def test_the_form_is_asked_for_where_the_names_cannot_tell(own_class: Weights) -> None:
    """Both forms' weights have the same shapes, and the wrong graph would answer wrongly without a word."""
    with pytest.raises(
        InputError, match=r"se_resnet18 or to se_resnet18_caffe.* give --form torch or --form"
    ):
        filled("se_resnet18", own_class)


@pytest.mark.parametrize("name", ["sknet101", "sknet50"])
def test_the_form_is_asked_for_where_the_other_form_s_settings_can_be_read(name: str) -> None:
    """The released SKNet-101 has a narrower attention, but its weights fit the other form, too."""
    weights = {"layer2.0.conv2.gate.fc1.weight": torch.ones(16, 256)}
    with pytest.raises(InputError, match=rf"belong to {name} or to {name}_caffe.* give --form torch or"):
        filled(name, weights)


@pytest.mark.parametrize(
    ("asked", "form", "row"),
    [
        ("se_resnet18", "torch", "se_resnet18"),
        ("se_resnet18", "caffe", "se_resnet18_caffe"),
        ("se_resnet18_caffe", "caffe", "se_resnet18_caffe"),
        ("se_resnet18_caffe", "torch", "se_resnet18"),
    ],
)
def test_the_form_chooses_between_twins(own_class: Weights, asked: str, form: zoo.Form, row: str) -> None:
    """The pooling of the stem is that of the row that results."""
    found = filled(asked, own_class, form=form)
    assert found.row.name == row
    pooling = found.net.get_submodule("maxpool")
    assert isinstance(pooling, nn.MaxPool2d)
    assert pooling.ceil_mode == (form == "caffe")


def test_who_names_the_row_of_caffe_s_form_need_not_say_it_twice(own_class: Weights) -> None:
    """The name says it."""
    assert filled("se_resnet18_caffe", own_class).row.name == "se_resnet18_caffe"


def cadene(weights: Weights) -> Weights:
    """Weights as pretrained-models.pytorch names them."""
    weights = renamed(renamed(weights, "attention.gate", "se_module"), "fc.weight", "last_linear.weight")
    stem = {"conv1.": "layer0.conv1.", "bn1.": "layer0.bn1."}
    return {
        stem.get(key.partition(".")[0] + ".", key.partition(".")[0] + ".") + key.partition(".")[2]: value
        for key, value in renamed(weights, "fc.bias", "last_linear.bias").items()
    }


@pytest.mark.parametrize("form", [None, "torch"])
def test_a_layout_of_the_other_form_is_refused(form: zoo.Form | None) -> None:
    """The message names the row to ask for, whatever form is claimed."""
    weights = cadene(weights_of("se_resnet18"))
    assert filled("se_resnet18_caffe", weights).layout.name == "cadene"
    with pytest.raises(
        InputError, match=r"cadene are of the caffe form, but se_resnet18 is .* se_resnet18_ca"
    ):
        fill(zoo.get("se_resnet18"), file_of(weights), classes=CLASSES, form=form)


def test_a_form_that_a_net_has_not_is_refused() -> None:
    """Nothing in the zoo is ResNet-20 in Caffe's form."""
    with pytest.raises(InputError, match=r"form: 'caffe' must be 'torch': resnet20 has no other form"):
        filled("resnet20", weights_of("resnet20"), form="caffe")


def test_a_checkpoint_of_ours_tells_its_form() -> None:
    """It names its row: it need not be asked, and another row is refused."""
    weights = weights_of("se_resnet18")
    file = file_of(weights, architecture="se_resnet18_caffe")
    found = fill(zoo.get("se_resnet18"), file, classes=CLASSES, form="caffe")
    assert found.row.name == "se_resnet18_caffe"
    with pytest.raises(
        InputError, match=r"holds 'se_resnet18_caffe', but the architecture asked for is 'se_"
    ):
        fill(zoo.get("se_resnet18"), file, classes=CLASSES)


@pytest.mark.parametrize("name", ["se_resnet50_max", "sknet26"])
def test_the_form_is_asked_for_where_the_zoo_has_one_of_them_only(name: str) -> None:
    """Somebody's weights may be of the other form all the same."""
    weights = renamed(weights_of(name), "attention.gate", "att")
    with pytest.raises(InputError, match=rf"belong to {name} or to .* give --form torch or --form caffe"):
        filled(name, weights)


@pytest.mark.parametrize("name", ["se_resnet20", "eca_resnet18"])
def test_the_form_is_not_asked_for_where_there_is_one_only(name: str) -> None:
    """CIFAR's nets have no pooling, and nobody has trained ECA in Caffe's form."""
    assert filled(name, renamed(weights_of(name), "attention.gate", "att")).row.name == name


def test_names_that_many_have_do_not_overrule_the_user() -> None:
    """The nets of moskomule are of the torch form, but the names are those of many articles' classes."""
    weights = renamed(
        renamed(weights_of("se_resnet18"), "attention.gate.fc1", "se.fc.0"), "attention.gate.fc2", "se.fc.2"
    )
    assert filled("se_resnet18", weights).layout.name == "moskomule"
    assert filled("se_resnet18", weights, form="caffe").row.name == "se_resnet18_caffe"
