"""`attnserve build --timm`: any net of timm end to end, and what each mistake is answered with."""

import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn
from typer.testing import CliRunner, Result

from handlers.attn_preprocess import METHODS
from model_store import timm_library
from model_store.cli import app
from model_store.errors import InputError
from model_store.inspect_archive import inspect
from tests.model_store.foreign import files
from tests.model_store.foreign.comparing import randomise
from tests.standins.timm_loader import load_timm

SCHEMA = json.loads((Path(__file__).parents[1] / "contract" / "signature.schema.json").read_text())
SMALL = "test_resnet"  # 0.4 million parameters, 160x160


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    """The library."""
    return load_timm()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timm: ModuleType) -> None:
    """No network, and nothing in the hub's cache."""
    del timm  # has to be imported, so that the hub is
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


def refused(*arguments: object, code: int = 2) -> str:
    """Run a build that fails; its one line of an error."""
    result = run("build", *arguments)
    assert result.exit_code == code, result.output
    (line,) = [one for one in result.stderr.splitlines() if one.startswith("error: ")]
    assert result.stderr.splitlines()[-1] == line
    return line


def labels(folder: Path, count: int) -> Path:
    """A file with so many labels."""
    path = folder / "labels.txt"
    path.write_text("".join(f"class {index}\n" for index in range(count)))
    return path


def config(name: str = SMALL, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  timm's own fields
    """What timm says of a net, changed."""
    return timm_library.config_of(name) | changes


@pytest.mark.usefixtures("timm")
def test_an_untrained_net_is_built(tmp_path: Path) -> None:
    """The archive is sound and follows the schema; the figures are the library's own."""
    result = run("build", "--timm", SMALL, "--untrained", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    found = inspect(Path(result.stdout.strip()))
    assert found.intact
    assert not list(Draft202012Validator(SCHEMA).iter_errors(found.signature))
    assert found.signature["name"] == SMALL
    assert found.signature["architecture"] == f"timm/{SMALL}"
    assert found.signature["family"] == "resnet"
    assert found.signature["attention"] == "none"
    assert found.signature["trained"] is False
    assert len(found.signature["labels"]) == 1000
    # floor(160 / 0.95), bilinear, mean and standard deviation 0.5: the library's configuration
    assert found.signature["input"] == {
        "size": [160, 160],
        "resize": {"method": "shorter_side", "size": [168, 168], "interpolation": "bilinear"},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }


def test_a_checkpoint_s_weights_are_served(timm: ModuleType, tmp_path: Path) -> None:
    """A net with SE, five classes, weights in a file: the packed net computes what timm's computes."""
    net: nn.Module = randomise(timm.create_model("test_efficientnet", num_classes=5))
    weights = files.training_state(tmp_path, net)
    about = ("--labels", labels(tmp_path, 5), "--licence", "MIT", "--weights-source", "my bench")
    named = ("--name", "mine", "--version", "3", "--output", tmp_path)
    result = run("build", "--timm", "test_efficientnet", "--checkpoint", weights, *about, *named)
    assert result.exit_code == 0, result.output
    path = Path(result.stdout.strip())
    assert path.name == "mine-v3.mar"
    signature = inspect(path).signature
    assert (signature["trained"], signature["attention"]) == (True, "se")
    card = signature["card"]
    assert card["parameters"] == sum(one.numel() for one in net.parameters())
    assert card["weights"]["licence"] == "MIT"
    assert card["weights"]["source"] == "my bench"
    assert card["weights"]["file"] == weights.name
    with zipfile.ZipFile(path) as archive, archive.open("model.pt") as file:
        packed = torch.jit.load(file)  # type: ignore[no-untyped-call] # torch's lack
    x = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), net(x), rtol=1e-4, atol=1e-4)


def test_timm_s_own_weights_bring_labels_and_licence(
    timm: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ImageNet's names, of which the two cranes are told apart by their WordNet ids; the hub's licence."""
    net: nn.Module = randomise(timm.create_model(SMALL))
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(net.state_dict())
    )
    result = run("build", "--timm", SMALL, "--pretrained", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    signature = inspect(Path(result.stdout.strip())).signature
    assert signature["trained"] is True
    assert signature["labels"][0] == "tench, Tinca tinca"
    assert {"crane (n02012849)", "crane (n03126707)"} <= set(signature["labels"])
    assert signature["card"]["weights"]["licence"] == "apache-2.0"
    assert signature["card"]["weights"]["source"] == "https://huggingface.co/timm/test_resnet.r160_in1k"


@pytest.mark.usefixtures("offline")
def test_without_a_network_one_line_says_so(tmp_path: Path) -> None:
    """Exit code 1: it was tried and failed."""
    line = refused("--timm", SMALL, "--pretrained", "--output", tmp_path, code=1)
    assert line.startswith(f"error: timm: cannot fetch the weights of {SMALL}: ")
    assert not list(tmp_path.glob("*.mar"))


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("seresnet19", "--untrained"), "'seresnet19' must be one of its nets, such as seresnet"),
        (("resnet50.a9_in1k", "--pretrained"), "must be a net and one of its weights, such as resnet50."),
        (("seresnet18", "--pretrained"), "'seresnet18' must be a net with weights, such as "),
        (("resmlp_12_224.fb_dino", "--pretrained"), "--labels is required: timm does not name the classes"),
        (("test_resnet", "--checkpoint", "w.pt"), "--labels is required with --checkpoint"),
        (("test_resnet",), "--timm needs exactly one of --checkpoint, --pretrained, --untrained"),
        (("test_resnet", "--pretrained", "--untrained"), "--timm needs exactly one of"),
        (("test_resnet", "--untrained", "--form", "caffe"), "--form cannot be combined with --timm"),
        (("test_resnet", "--untrained", "--licence", "MIT"), "--licence needs --checkpoint"),
    ],
)
def test_what_cannot_be_built_is_said(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    """In one line, with exit code 2."""
    assert expected in refused("--timm", *arguments, "--output", tmp_path)


@pytest.mark.usefixtures("offline")
def test_timm_s_own_weights_keep_their_classes(tmp_path: Path) -> None:
    """For another number of classes timm would put a random layer at the end."""
    line = refused("--timm", SMALL, "--pretrained", "--labels", labels(tmp_path, 7), "--output", tmp_path)
    assert f"labels: 7 given, but the weights of {SMALL} have 1000 classes" in line


def test_a_checkpoint_that_does_not_fit_is_refused(timm: ModuleType, tmp_path: Path) -> None:
    """The layer of the classes, and a foreign net's layers, are named."""
    weights = files.safetensors(tmp_path, timm.create_model(SMALL, num_classes=5))
    given = ("--checkpoint", weights, "--labels", labels(tmp_path, 7), "--output", tmp_path)
    assert "labels: 7 given, but fc.weight has 5 classes" in refused("--timm", SMALL, *given)
    labels(tmp_path, 5)
    assert "the weights do not fit the architecture" in refused("--timm", "resnet18", *given)


def test_logits_of_a_convolution_are_refused_by_their_shape(timm: ModuleType, tmp_path: Path) -> None:
    """Some nets have no linear layer at all, such as DLA."""
    weights = files.safetensors(tmp_path, timm.create_model("dla46x_c", num_classes=5))
    given = ("--checkpoint", weights, "--labels", labels(tmp_path, 7), "--output", tmp_path)
    message = "fc.weight: expected [7, 256, 1, 1], found [5, 256, 1, 1]"
    assert message in refused("--timm", "dla46x_c", *given)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 1, and what to install."""
    monkeypatch.setitem(sys.modules, "timm", None)
    line = refused("--timm", SMALL, "--untrained", "--output", tmp_path, code=1)
    assert line == "error: this needs timm: pip install 'attnserve[timm]'"


def test_a_torchvision_of_another_torch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The usual reason why timm cannot be imported: its operators are not registered."""
    (tmp_path / "timm").mkdir()
    source = 'raise RuntimeError("operator torchvision::nms does not exist")\n'
    (tmp_path / "timm" / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    line = refused("--timm", SMALL, "--untrained", "--output", tmp_path, code=1)
    assert f"must be a build for torch {torch.__version__}: operator torchvision::nms does not exist" in line


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"interpolation": "lanczos"}, "interpolation: 'lanczos' must be one of bilinear, bicubic"),
        ({"input_size": (1, 28, 28)}, "must be 3 channels of a square"),
        ({"input_size": (3, 224, 160)}, "must be 3 channels of a square"),
        ({"crop_mode": "border"}, "crop_mode: 'border' must be 'center'"),
        ({"crop_mode": "squash", "crop_pct": 0.9}, "crop_mode: 'squash' must be 'center', or"),
        ({"crop_pct": 1.15}, "crop_pct: 1.15 must be at most 1"),
    ],
)
def test_a_preparation_that_the_handler_has_not_is_refused(changes: dict[str, Any], expected: str) -> None:
    """By its name, as serving with another one would cost accuracy silently."""
    with pytest.raises(InputError, match=expected.replace("(", r"\(")):
        timm_library.recipe_of(SMALL, config(**changes))


@pytest.mark.usefixtures("timm")
def test_a_squash_of_the_whole_image_is_a_stretch() -> None:
    """What timm calls `squash` loses nothing where crop_pct is 1."""
    recipe = timm_library.recipe_of(SMALL, config(crop_mode="squash", crop_pct=1.0))
    assert recipe.resize_method == "stretch"
    assert recipe.resize_size == recipe.input_size == (160, 160)
    assert recipe.resize_method in METHODS


@pytest.mark.usefixtures("timm")
def test_the_form_of_the_legacy_nets_is_told() -> None:
    """They pool as in Caffe; `senet154` and the others pad."""
    names = ("legacy_seresnet18", "legacy_senet154", "senet154", "seresnet18.anything")
    assert [timm_library.form_of(name) for name in names] == ["caffe", "caffe", "torch", "torch"]


def test_the_attention_is_read_from_the_modules(timm: ModuleType) -> None:
    """One net of each kind that timm has; a transformer's attention is not of channels."""
    expected = {
        "resnet18": "none",
        "seresnet18": "se",
        "legacy_seresnet18": "se",
        "ecaresnet26t": "eca",
        "skresnet18": "sk",
        "resnest14d": "splat",
        "gcresnet33ts": "gc",
        "ese_vovnet19b_dw": "ese",
        "test_vit": "unknown",
    }
    with torch.device("meta"):
        found = {name: timm_library.attention_of(timm.create_model(name)) for name in expected}
    assert found == expected
