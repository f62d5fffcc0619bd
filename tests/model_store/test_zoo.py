"""The zoo: exact counts, complete rows, twins that differ in form only, nets that TorchScript reproduces."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from model_store import counts, zoo
from model_store.errors import InputError
from model_store.weights.layouts import LAYOUTS
from model_store.zoo import accuracies, released
from tests.model_store.on_meta import gates_of, net_of, shapes_of
from tests.rows import images, lively, rows_of_each_kind

ROWS = tuple(zoo.TABLE.values())
TWINS = tuple(row for row in ROWS if row.form == "caffe" and zoo.twin(row))

QUICKLY_COUNTED = (
    "resnet18", "eca_resnet18_k3577", "se_resnet20", "sk_resnet20", "sknet29", "skresnet18", "ecaresnetlight"
)  # fmt: skip
QUICKLY_COMPILED = {"digits_plain": 16, "digits_se": 16, "digits_eca": 16, "digits_sk": 16}
SLOWLY_SCRIPTED = {"resnet20": 32, "eca_resnet18_k3577": 64, "skresnet18": 64, "se_resnet50_identity": 64}
FORMS: Mapping[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "script": lambda net, _images: torch.jit.script(net),
    "trace": torch.jit.trace,
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_parameters_are_exactly_the_documented_ones(row: zoo.Row) -> None:
    """The count that a row states is the count of the net that it builds."""
    assert counts.parameters(net_of(row.name)) == row.parameters


@pytest.mark.parametrize("name", QUICKLY_COUNTED)
def test_macs_are_exactly_the_documented_ones(name: str) -> None:
    """The multiply-adds that a row states are those of the net that it builds, at the row's own size."""
    row = zoo.get(name)
    assert counts.macs(net_of(name), row.recipe.input_size) == row.macs


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_macs_of_all_are_exactly_the_documented_ones(row: zoo.Row) -> None:
    """The same for every row."""
    assert counts.macs(net_of(row.name), row.recipe.input_size) == row.macs


@pytest.mark.parametrize("name", ["se_resnet20", "sknet26", "ecaresnet26t", "digits_eca"])
def test_number_of_classes_changes_the_last_layer_only(name: str) -> None:
    """A net of 7 classes differs from the documented one by the rows of its last layer."""
    require_change_of_last_layer(name)


@pytest.mark.slow
@pytest.mark.parametrize("row", tuple(rows_of_each_kind(ROWS)), ids=lambda row: row.name)
def test_number_of_classes_changes_the_last_layer_of_any_net_only(row: zoo.Row) -> None:
    """The same for a row of each family and attention."""
    require_change_of_last_layer(row.name)


def require_change_of_last_layer(name: str) -> None:
    """Compare the shapes of a row's net with those of a net of 7 classes."""
    with torch.device("meta"):
        smaller = shapes_of(zoo.get(name).build(7))
    documented = shapes_of(net_of(name))
    assert list(documented) == list(smaller)
    different = [key for key in documented if documented[key] != smaller[key]]
    assert different == list(documented)[-2:]
    assert smaller[different[1]] == (7,)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_are_complete_and_consistent(row: zoo.Row) -> None:
    """A row is found by its name, tells its source, and has a recipe that fills the input."""
    assert zoo.get(row.name) is row
    assert row.attention in {"none", "se", "eca", "sk", "cbam", "bam", "scse"}
    assert row.family in {"resnet", "resnext", "sknet", "senet", "mobilenet", "inception"}
    assert row.source
    recipe = row.recipe
    assert all(side <= resized for side, resized in zip(recipe.input_size, recipe.resize_size, strict=True))
    assert recipe.resize_method == "shorter_side" or recipe.resize_size == recipe.input_size
    assert all(std > 0 for std in recipe.std)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_attention_is_what_the_row_says(row: zoo.Row) -> None:
    """A net has gates where its row names an attention, with M of them for a channel in SK alone."""
    gates = gates_of(row.name)
    assert bool(gates) == (row.attention != "none")
    assert {gate.branches for gate in gates.values()} <= ({2} if row.attention == "sk" else {1})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_known_of_a_row_can_be_traced(row: zoo.Row) -> None:
    """Each accuracy has a source of its own; weights are in a layout that can be loaded, or in none."""
    for published in row.published:
        assert 50 < published.top1 < 100
        assert published.top5 is None or published.top1 < published.top5 < 100
    sources = [published.source for published in row.published]
    assert all(sources)
    assert len(set(sources)) == len(sources)
    assert row.published_top1 == (row.published[0].top1 if row.published else None)
    assert {weights.layout for weights in row.weights} <= {None, *(layout.name for layout in LAYOUTS)}
    assert len({weights.where for weights in row.weights}) == len(row.weights)


def test_nothing_is_known_of_nets_that_are_not_there() -> None:
    """Each name in the tables of accuracies and of weights is that of a row."""
    assert set(zoo.TABLE) >= accuracies.NETS
    assert set(zoo.TABLE) >= set(released.WEIGHTS)


def test_names_are_used_once() -> None:
    """No row hides another one."""
    assert sum(len(group) for group in zoo.GROUPS) == len(zoo.TABLE)


@pytest.mark.parametrize("row", TWINS, ids=lambda row: row.name)
def test_twins_have_weights_of_the_same_names_and_shapes(row: zoo.Row) -> None:
    """What was trained for the one form can be loaded, wrongly, into the other."""
    other = zoo.twin(row)
    assert other is not None
    assert zoo.twin(other) is row
    assert (row.form, other.form) == ("caffe", "torch")
    assert (row.family, row.attention, row.classes) == (other.family, other.attention, other.classes)
    found, expected = shapes_of(net_of(row.name)), shapes_of(net_of(other.name))
    assert list(found) == list(expected)
    differing = {name for name, shape in expected.items() if found[name] != shape}
    if row.name == "sknet101_caffe":  # its attention's width in one stage, which is read from the weights
        assert differing
        assert all(name.startswith("layer2.") and ".gate." in name for name in differing)
    else:
        assert not differing


def test_a_net_of_one_form_has_no_twin() -> None:
    """As all of CIFAR."""
    assert zoo.twin(zoo.get("resnet20")) is None


def test_twins_with_the_same_weights_answer_differently() -> None:
    """Loading weights into the wrong form changes the answers without any error."""
    require_other_answers(zoo.get("se_resnet18_caffe"))


@pytest.mark.slow
def test_a_moved_stride_changes_the_answers() -> None:
    """The same where the stride differs as well."""
    require_other_answers(zoo.get("se_resnet50_caffe"))


def require_other_answers(row: zoo.Row) -> None:
    """Fill a net and its twin with the same weights and compare their logits."""
    other = zoo.twin(row)
    assert other is not None
    net, twin = lively(row), other.build(other.classes).eval()
    twin.load_state_dict(net.state_dict())
    with torch.inference_mode():
        batch = images(2, (64, 64))
        expected, found = net(batch), twin(batch)
    assert (found - expected).abs().max() > 0.01 * expected.abs().max()


def test_only_bottlenecks_of_resnets_move_their_stride_in_the_caffe_form() -> None:
    """A ResNet's is on the first 1x1 convolution, a ResNeXt's, an SKNet's and SENet-154's on the 3x3."""
    for row in TWINS:
        convolutions = {
            path.rsplit(".", 1)[-1] if path.count(".") == 2 else path
            for path, part in net_of(row.name).named_modules()
            if isinstance(part, nn.Conv2d) and part.stride == (2, 2) and path.startswith("layer")
            if "downsample" not in path
        }
        if row.family == "resnet":
            assert convolutions == {"conv1"}, row.name
        else:
            assert not any(path.endswith("conv1") for path in convolutions), row.name


@pytest.mark.parametrize(
    ("name", "place", "first_channels"),
    [
        ("se_resnet50_nobias", "attention", (256, 256, 256, 512)),
        ("se_resnet50_pre", "attention_pre", (64, 256, 256, 256)),
        ("se_resnet50_post", "attention_post", (256, 256, 256, 512)),
        ("se_resnet50_identity", "attention_identity", (256, 256, 256, 512)),
        ("se_resnet50_3x3", "attention_3x3", (64, 64, 64, 128)),
    ],
)
def test_each_block_has_its_attention_where_the_name_says(
    name: str, place: str, first_channels: tuple[int, ...]
) -> None:
    """One in each of 16 blocks, as wide as the features at that place (Hu et al., figures 5 and table 15)."""
    gates = gates_of(name)
    assert len(gates) == 16
    assert {path.rsplit(".", 1)[-1] for path in gates} == {place}
    assert tuple(gate.channels for gate in gates.values())[:4] == first_channels


@pytest.mark.parametrize(("stage", "blocks"), [(2, 3), (3, 4), (4, 6)])
def test_attention_in_a_single_stage_is_in_all_blocks_of_that_stage(stage: int, blocks: int) -> None:
    """Stages are counted as in the paper: the one after the stem is the second."""
    gates = gates_of(f"se_resnet50_stage{stage}")
    assert list(gates) == [f"layer{stage - 1}.{block}.attention" for block in range(blocks)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "size"), QUICKLY_COMPILED.items())
def test_torchscript_equals_eager_at_other_batch_sizes(form: str, name: str, size: int) -> None:
    """Scripted, or traced at batch 2, a net answers batches of 1 and 3 as it does eagerly."""
    require_same_answers(form, name, size)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), SLOWLY_SCRIPTED.items())
def test_larger_nets_can_be_scripted(name: str, size: int) -> None:
    """The same for larger ones; that they can be traced is proven wherever an archive is built."""
    require_same_answers("script", name, size)


def require_same_answers(form: str, name: str, size: int) -> None:
    """Compile a row's net and compare it with the eager one."""
    torch.manual_seed(0)
    net = lively(zoo.get(name))
    compiled = FORMS[form](net, images(2, (size, size)))
    with torch.inference_mode():
        for count in (1, 3):
            batch = images(count, (size, size))
            torch.testing.assert_close(compiled(batch), net(batch))


def test_rows_can_not_be_added_from_outside() -> None:
    """The table is read-only."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        zoo.TABLE["mine"] = zoo.get("resnet18")  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "near"), [("seresnet50", "se_resnet50"), ("resnet-50", "resnet50"), ("digits-se", "digits_se")]
)
def test_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    """The error shows what was asked for and offers names like it."""
    with pytest.raises(zoo.UnknownArchitectureError, match=rf"{near}\b.*got '{name}'"):
        zoo.get(name)


def test_name_unlike_any_other_is_answered_with_examples() -> None:
    """Where nothing is near, the text still offers names; the error is the caller's fault."""
    with pytest.raises(zoo.UnknownArchitectureError, match=r"such as resnet18, .*got '%%'") as caught:
        zoo.get("%%")
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, InputError)
