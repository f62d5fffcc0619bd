"""`attnserve inspect` and `zoo`: what they show, and what each mistake is answered with."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from model_store import zoo
from model_store.cli import app
from model_store.inspect_archive import inspect


def run(*arguments: object) -> Result:
    """Run a command as a user would."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


def build_untrained(folder: Path, *more: str) -> Path:
    """Build digits_se with random weights."""
    result = run("build", "--arch", "digits_se", "--untrained", "--output", folder, *more)
    assert result.exit_code == 0, result.output
    return Path(result.stdout.strip())


def test_inspect_shows_the_card(tmp_path: Path) -> None:
    """Hashes, figures, labels and the attention's columns, without blanks at the ends of lines."""
    path = build_untrained(tmp_path)
    result = run("inspect", path)
    assert result.exit_code == 0
    for text in (
        "matches in SHA256SUMS",
        "every inner file matches",
        "20,470",
        "layer3.0.attention",
        "24..55",
    ):
        assert text in result.stdout
    assert not any(line != line.rstrip() for line in result.stdout.splitlines())


def test_inspect_speaks_json(tmp_path: Path) -> None:
    """The same for machines."""
    path = build_untrained(tmp_path)
    document = json.loads(run("inspect", path, "--json").stdout)
    assert document["intact"] is True
    assert document["sha256"] == inspect(path).sha256
    assert document["signature"]["name"] == "digits_se"


def test_inspect_says_that_a_file_is_not_listed(tmp_path: Path) -> None:
    """Without SHA256SUMS beside it an archive is no less intact, but nothing vouches for it."""
    path = build_untrained(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    result = run("inspect", path)
    assert result.exit_code == 0
    assert "not listed in SHA256SUMS" in result.stdout


def test_inspect_names_what_was_altered(tmp_path: Path) -> None:
    """An entry changed, added or removed is named, and the exit code is 1."""
    path = build_untrained(tmp_path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["model-config.yaml"] += b"# more\n"
    entries["extra.txt"] = b""
    del entries["parity.npz"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    result = run("inspect", path)
    assert result.exit_code == 1
    assert "differs in SHA256SUMS" in result.stdout
    assert inspect(path).damaged == {
        "extra.txt": "not in SHA256SUMS",
        "model-config.yaml": "altered",
        "parity.npz": "missing",
    }
    assert "does not match its hashes" in result.stderr


@pytest.mark.parametrize(
    ("content", "code"), [(None, 2), (b"no zip", 1), (b"", 1)], ids=["missing", "text", "empty"]
)
def test_inspect_refuses_what_is_no_archive(tmp_path: Path, content: bytes | None, code: int) -> None:
    """One line; exit code 2 for a file that is not there, 1 for one that is no archive."""
    path = tmp_path / "x.mar"
    if content is not None:
        path.write_bytes(content)
    result = run("inspect", path)
    assert result.exit_code == code
    assert result.stderr.startswith("error: archive: cannot read")
    assert result.stderr.count("\n") == 1


def test_inspect_refuses_a_foreign_archive(tmp_path: Path) -> None:
    """A .mar of someone else has no list of sums."""
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    result = run("inspect", tmp_path / "x.mar")
    assert result.exit_code == 1
    assert "lacks SHA256SUMS" in result.stderr


def test_the_zoo_is_listed_for_machines() -> None:
    """Every row has the keys of the contract."""
    rows = json.loads(run("zoo", "--json").stdout)
    assert [row["name"] for row in rows] == list(zoo.TABLE)
    keys = [
        "name",
        "family",
        "attention",
        "parameters",
        "macs",
        "input_size",
        "classes",
        "published_top1",
        "source",
    ]
    assert all(keys == [key for key in row if key in keys] for row in rows)
    (se_resnet50,) = (row for row in rows if row["name"] == "se_resnet50")
    assert se_resnet50["parameters"] == 28_088_024
    assert se_resnet50["input_size"] == [224, 224]


def test_the_zoo_is_listed_for_people() -> None:
    """One line for each net, after the head."""
    lines = run("zoo").stdout.splitlines()
    assert lines[0].split()[:3] == ["name", "family", "attention"]
    assert [line.split()[0] for line in lines[1:] if line] == list(zoo.TABLE)


def test_help_does_not_wait_for_torch() -> None:
    """Importing the commands imports neither torch nor scikit-learn."""
    code = "import sys, model_store.cli; print(sorted({'torch', 'sklearn', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def run_without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command as in the gateway's environment, which has neither torch nor scikit-learn."""
    code = (
        "import sys; sys.modules.update(torch=None, sklearn=None); from model_store.cli import app;"
        "app()(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_inspect_needs_no_torch(tmp_path: Path) -> None:
    """An archive can be checked where a gateway runs."""
    done = run_without_torch("inspect", build_untrained(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "every inner file matches" in done.stdout


@pytest.mark.parametrize("arguments", [["zoo"], ["build", "--arch", "resnet18", "--untrained"]])
def test_what_needs_torch_says_how_to_get_it(arguments: list[str]) -> None:
    """One line and exit code 1."""
    done = run_without_torch(*arguments)
    assert done.returncode == 1
    assert done.stderr == "error: this needs torch: pip install 'attnserve[foundry]'\n"


def test_the_commands_run_alone() -> None:
    """`python -m model_store.cli` offers the three."""
    command = [sys.executable, "-m", "model_store.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert all(name in done.stdout for name in ("zoo", "build", "inspect"))
