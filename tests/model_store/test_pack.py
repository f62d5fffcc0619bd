"""Archives: deterministic, complete, and never half written."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from handlers.attn_decode import ImageLimits
from handlers.attn_options import Options
from model_store import pack as packing
from model_store.errors import ArchiveError, InputError
from model_store.options import ServingOptions
from model_store.pack import Archive, pack, write_archive
from model_store.proof import Parity
from model_store.script import ExportedNet
from model_store.signature import Identity, InputRecipe, Resize, Signature
from model_store.sums import parse_sums, read_sums, sums_text

PARITY = Parity(tolerance=1e-4, max_abs_error=0.0, batch_sizes=(1,), form="trace", samples="random")
NET = ExportedNet(
    model=b"weights",
    parity=PARITY,
    attention_layout=(),
    samples=torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4),
    logits=torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
)
SIGNATURE = Signature(
    identity=Identity(name="tiny", version="1", architecture="a", family="f", attention="none", trained=True),
    recipe=InputRecipe(
        size=(4, 4),
        resize=Resize(method="stretch", size=(4, 4), interpolation="bilinear"),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    ),
    labels=("a", "b"),
    attention_layout=(),
    weights_sha256=hashlib.sha256(NET.model).hexdigest(),
    parity=PARITY,
)


def entries(archive: Archive) -> dict[str, bytes]:
    """Name -> contents."""
    with zipfile.ZipFile(io.BytesIO(archive.data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_same_input_gives_the_same_bytes() -> None:
    """Packing twice differs in nothing, the date included."""
    assert pack(SIGNATURE, NET).data == pack(SIGNATURE, NET).data


def test_entries_are_sorted_stored_and_undated() -> None:
    """Nothing in the zip's own fields depends on the machine or the time."""
    with zipfile.ZipFile(io.BytesIO(pack(SIGNATURE, NET).data)) as file:
        infos = file.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    fields = {
        (info.date_time, info.compress_type, info.create_system, info.external_attr >> 16, info.extra)
        for info in infos
    }
    assert fields == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 3, 0o100644, b"")}


def test_the_manifest_is_what_torchserve_reads() -> None:
    """Name, version, handler, weights and configuration; no date."""
    assert json.loads(entries(pack(SIGNATURE, NET))["MAR-INF/MANIFEST.json"]) == {
        "runtime": "python",
        "archiverVersion": "0.12.0",
        "model": {
            "modelName": "tiny",
            "modelVersion": "1",
            "handler": "attn_entry.py",
            "serializedFile": "model.pt",
            "configFile": "model-config.yaml",
        },
    }


def test_the_configuration_leaves_batching_to_the_gateway() -> None:
    """One request a batch, and no default delay of 100 ms, which 0 would mean."""
    config = yaml.safe_load(entries(pack(SIGNATURE, NET))["model-config.yaml"])
    assert (config["batchSize"], config["maxBatchDelay"], config["minWorkers"], config["maxWorkers"]) == (
        1,
        1,
        1,
        1,
    )


def test_a_hung_worker_is_ended_before_its_caller_gives_up() -> None:
    """The response timeout is 15 s, and no handler block is written, unless asked for."""
    config = yaml.safe_load(entries(pack(SIGNATURE, NET))["model-config.yaml"])
    assert config["responseTimeout"] == 15
    assert "handler" not in config


def test_the_options_are_what_the_handler_reads() -> None:
    """Limits that were packed are the limits that the handler takes from its configuration."""
    options = ServingOptions(
        max_image_bytes=1000, max_image_pixels=2000, decoder="pillow", response_timeout_s=7
    )
    config = yaml.safe_load(entries(pack(SIGNATURE, NET, options))["model-config.yaml"])
    assert config["responseTimeout"] == 7
    limits = ImageLimits(max_image_bytes=1000, max_image_pixels=2000)
    assert Options.of_config(config) == Options(limits=limits, decoder="pillow")


@pytest.mark.parametrize("name", ["max_image_bytes", "max_image_pixels", "response_timeout_s"])
def test_numbers_below_one_are_refused(name: str) -> None:
    """The message names option, value and rule."""
    with pytest.raises(InputError, match=f"{name}: 0 must be at least 1"):
        ServingOptions(**{name: 0})  # type: ignore[arg-type] # one of the three numbers


@pytest.mark.parametrize("card", [{"a": torch.ones(1)}, {"a": float("nan")}, {1: 0, "a": 0}, [1]])
def test_a_card_that_json_cannot_hold_is_refused(card: object) -> None:
    """At once, with the reason, not as a failure to write it."""
    with pytest.raises(InputError, match="card: must "):
        replace(SIGNATURE, card=card)  # type: ignore[arg-type] # what a user's file may hold


def test_the_entry_defines_one_class_and_names_what_is_missing(tmp_path: Path) -> None:
    """TorchServe hides an ImportError of a handler's module, so that it must become another."""
    (tmp_path / "attn_entry.py").write_bytes(entries(pack(SIGNATURE, NET))["attn_entry.py"])
    package = tmp_path / "attn_handlers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "classify.py").write_text("class Classifier: ...")
    code = (
        "import attn_entry as entry;"
        "print([n for n, v in vars(entry).items() if isinstance(v, type) and v.__module__ == entry.__name__])"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['Handler']"
    (package / "classify.py").write_text("import nowhere_to_be_found")
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    last = failed.stderr.splitlines()[-1]
    assert last == (
        "RuntimeError: the archive's handler cannot be imported: No module named 'nowhere_to_be_found'"
    )


def test_the_repository_s_handlers_travel_unchanged() -> None:
    """Every source of handlers/ is there under another package name, and nothing else of the folder."""
    folder = Path(__file__).parents[2] / "handlers"
    expected = {f"attn_handlers/{path.name}": path.read_bytes() for path in folder.glob("*.py")}
    packed = entries(pack(SIGNATURE, NET))
    assert {name: data for name, data in packed.items() if name.startswith("attn_handlers/")} == expected
    assert b"class Handler(Classifier)" in packed["attn_entry.py"]


def test_the_parity_samples_can_be_read_back() -> None:
    """parity.npz has the inputs and the eager net's logits."""
    with np.load(io.BytesIO(entries(pack(SIGNATURE, NET))["parity.npz"])) as arrays:
        assert set(arrays) == {"input", "logits"}
        np.testing.assert_array_equal(arrays["input"], NET.samples.numpy())
        np.testing.assert_array_equal(arrays["logits"], NET.logits.numpy())


def test_the_inner_list_has_every_other_entry(tmp_path: Path) -> None:
    """sha256sum itself agrees, for every file but the list."""
    archive = pack(SIGNATURE, NET)
    with zipfile.ZipFile(io.BytesIO(archive.data)) as file:
        file.extractall(tmp_path)
    listed = read_sums(tmp_path / "SHA256SUMS")
    assert set(listed) == set(entries(archive)) - {"SHA256SUMS"}
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(("version", "name"), [("1", "tiny.mar"), ("2", "tiny-v2.mar")])
def test_only_later_versions_show_in_the_file_name(version: str, name: str) -> None:
    """NAME.mar for version 1, NAME-vVERSION.mar after it."""
    signature = replace(SIGNATURE, identity=replace(SIGNATURE.identity, version=version))
    assert pack(signature, NET).file_name == name


def test_writing_adds_to_the_folder_s_list(tmp_path: Path) -> None:
    """Lines of other archives stay, those of missing ones go, and the list is sorted."""
    folder = tmp_path / "deep" / "archives"
    for name in ("b.mar", "a.mar", "gone.mar"):
        write_archive(folder, Archive(file_name=name, data=name.encode()))
    (folder / "gone.mar").unlink()
    write_archive(folder, Archive(file_name="b.mar", data=b"new"))
    expected = [
        (hashlib.sha256(data).hexdigest(), name) for name, data in (("a.mar", b"a.mar"), ("b.mar", b"new"))
    ]
    assert (folder / "SHA256SUMS").read_text() == "".join(f"{digest}  {name}\n" for digest, name in expected)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither a temporary file nor a line in the list."""
    (tmp_path / "a.mar").mkdir()
    with pytest.raises(OSError, match=r"a\.mar"):
        write_archive(tmp_path, Archive(file_name="a.mar", data=b"x"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mar"]


@pytest.mark.parametrize(
    "options",
    [
        ServingOptions(cuda_dtype="float16"),
        ServingOptions(max_image_pixels=9),
        ServingOptions(response_timeout_s=9),
    ],
)
def test_other_options_are_noticed(tmp_path: Path, options: ServingOptions) -> None:
    """An archive that was packed with other options is not what is asked for now."""
    path = write_archive(tmp_path, pack(SIGNATURE, NET))
    assert packing.is_current(path, ServingOptions(cuda_dtype="float32"))
    assert not packing.is_current(path, options)


def test_old_handlers_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that was packed before the handlers changed is not up to date any more."""
    path = write_archive(tmp_path, pack(SIGNATURE, NET))
    assert packing.is_current(path, ServingOptions())
    changed = tmp_path / "site" / "handlers"
    changed.mkdir(parents=True)
    (changed / "__init__.py").write_text("# of tomorrow\n")
    monkeypatch.delitem(sys.modules, "handlers", raising=False)  # an imported one would be found first
    monkeypatch.syspath_prepend(str(changed.parent))
    assert not packing.is_current(path, ServingOptions())


NAMES = st.text(
    st.characters(exclude_characters="\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"])
)


@given(
    st.dictionaries(
        NAMES.filter(bool), st.binary(max_size=4).map(lambda data: hashlib.sha256(data).hexdigest())
    )
)
def test_a_list_of_sums_reads_back(digests: dict[str, str]) -> None:
    """Writing and reading are inverse, blanks in names included."""
    assert parse_sums(sums_text(digests), "here") == digests


@pytest.mark.parametrize("line", ["", "abc  x", "0" * 64, f"{'0' * 64} x", f"{'0' * 64}  "])
def test_a_broken_line_is_refused_by_number(line: str) -> None:
    """The message says where and what."""
    text = f"{'1' * 64}  fine\n{line}\n"
    with pytest.raises(ArchiveError, match=r"here: line 2 must be '<sha256>  <name>'"):
        parse_sums(text, "here")
