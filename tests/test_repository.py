"""The repository is what it says: its folders, its README's commands, its wheel, its imports."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("serve", "handlers", "model_store", "proto", "deploy", "loadtests", "tests")
MOST_BYTES = 2**20

GIT = pytest.mark.needs_program("git", how="apt install git")

# Imports serve.app while torch, and everything of TorchServe, cannot be found.
WITHOUT_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "ts"}:
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import serve.app
import serve.cli
print("imported")
"""


def targets() -> dict[str, str]:
    """The Makefile's commands with their help texts."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z-]+):.*?## (.+)$", text, flags=re.MULTILINE))


def tracked() -> list[Path]:
    """The files that git keeps, and those that it would keep after `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@GIT
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_top_level_folder_has_content(folder: str) -> None:
    """No folder of the layout is missing or holds only an empty file."""
    files = [path for path in tracked() if path.is_relative_to(ROOT / folder)]
    assert any(path.stat().st_size > 0 for path in files)


@GIT
def test_no_large_file_is_kept() -> None:
    """Archives, weights and pictures of size belong elsewhere."""
    large = [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > MOST_BYTES]
    assert large == []


def test_the_readme_names_only_commands_that_exist() -> None:
    """Every `make X` of the README is a target with a help text."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|[`$ ])make ([a-z][a-z-]+)", _code(readme), flags=re.MULTILINE))
    assert {"serve", "test"} <= named
    assert named <= targets().keys()


@pytest.mark.needs_program("make", how="apt install make")
def test_make_help_lists_every_command() -> None:
    """`make help` shows each documented target with its text."""
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name, text in targets().items():
        assert re.search(rf"make {name} +{re.escape(text)}", shown), name


def test_the_gateway_imports_without_torch() -> None:
    """The gateway's image has no torch: importing the application must not look for it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "imported"), done.stderr


@GIT
def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    """It carries all modules of the three houses, their type marks and the page, and no tests or archives."""
    clone = tmp_path / "clone"  # building in place would leave folders behind
    for path in tracked():
        (clone / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, clone / path.relative_to(ROOT))
    offline = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    build = [sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", str(tmp_path), str(clone)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("attnserve-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
    houses = [path.relative_to(ROOT) for path in tracked()]
    houses = [path for path in houses if path.parts[0] in {"serve", "handlers", "model_store"}]
    page, tools = Path("serve/edge/page"), Path("serve/edge/page_tools")
    shipped = (".py", ".pyi", ".typed", ".html", ".css")
    expected = {str(path) for path in houses if path.suffix in shipped and not path.is_relative_to(tools)}
    expected |= {str(path) for path in houses if path.is_relative_to(page)}
    assert names == expected


def _code(markdown: str) -> str:
    """The code of a Markdown text: fenced blocks and spans in backticks."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", markdown, flags=re.DOTALL))
