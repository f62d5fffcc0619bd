"""Writes the exact versions that images install: those installed here, with which the tests ran.

    python -m deploy.images.constraints         # constraints.txt, from this environment
    python -m deploy.images.constraints --cuda  # constraints-cuda.txt, from what PyPI says of torch

What the CUDA build needs beyond the CPU build is not installed on a machine without a GPU: its versions are
those that pip would take, found without a download of the libraries themselves.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

IMAGES: Final = Path(__file__).parent
PYPROJECT: Final = IMAGES.parent.parent / "pyproject.toml"
CONSTRAINTS: Final = IMAGES / "constraints.txt"
CUDA_CONSTRAINTS: Final = IMAGES / "constraints-cuda.txt"
# What each image installs, by extra; "" are the project's own dependencies.
EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway": ("", "postgres", "report", "tracing"),
    "worker": ("worker", "fast-decode"),
    "worker-cuda": ("worker", "fast-decode"),
    "loadtest": ("", "loadtest"),
    "models": (),
}
# Which builds the wheel of the project itself.
_BUILD: Final = ("setuptools",)
_SYSTEM: Final[dict[str, str]] = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}


def asked_for(extras: Iterable[str]) -> list[Requirement]:
    """The requirements that pyproject.toml states for these extras."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    stated = {"": project["dependencies"], **project["optional-dependencies"]}
    return [Requirement(text) for extra in extras for text in stated[extra]]


def closure(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Version by name of all that these need, and what that needs, as installed here.

    Raises:
        PackageNotFoundError: Something is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        installed = distribution(name)
        found[name] = installed.version.partition("+")[0]  # of a build such as +cpu, either will do
        todo += [(need, more) for need in _needs(installed.requires, extra) for more in ("", *need.extras)]
    return dict(sorted(found.items()))


def _needs(requires: list[str] | None, extra: str) -> list[Requirement]:
    """What a package needs on our images' system, with one of its extras or ("") without."""
    environment = (
        {name: str(value) for name, value in default_environment().items()} | _SYSTEM | {"extra": extra}
    )
    return [
        requirement
        for requirement in map(Requirement, requires or ())
        if requirement.marker is None or requirement.marker.evaluate(environment)
    ]


def read(path: Path) -> dict[str, str]:
    """Version by name, as pinned in a file of constraints."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return dict(pins)


def write(path: Path, command: str, pins: Mapping[str, str]) -> None:
    """Replace a file of constraints."""
    lines = [f"# Written by `{command}`.", *(f"{name}=={version}" for name, version in sorted(pins.items()))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def installed() -> dict[str, str]:
    """What constraints.txt should hold."""
    wanted = [requirement for extras in EXTRAS.values() for requirement in asked_for(extras)]
    return closure([*wanted, *map(Requirement, _BUILD)])


def cuda() -> dict[str, str]:
    """What the CUDA build of torch needs beyond constraints.txt, as PyPI has it.

    Raises:
        subprocess.CalledProcessError: pip cannot tell; it has said why.
    """
    torch = next(str(one) for one in asked_for(["worker"]) if one.name == "torch")
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--dry-run", "--ignore-installed"]
    asked = [
        "--quiet",
        "--report=-",
        "--index-url=https://pypi.org/simple",
        f"--constraint={CONSTRAINTS}",
        torch,
    ]
    done = subprocess.run([*pip, *asked], check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - pip
    taken = (one["metadata"] for one in json.loads(done.stdout)["install"])
    pins = {canonicalize_name(one["name"]): one["version"] for one in taken}
    return {name: version for name, version in pins.items() if name not in read(CONSTRAINTS)}


def main(arguments: list[str]) -> None:
    """Write one of the two files."""
    command = " ".join(["python -m deploy.images.constraints", *arguments])
    if arguments == ["--cuda"]:
        write(CUDA_CONSTRAINTS, command, cuda())
    elif not arguments:
        try:
            write(CONSTRAINTS, command, installed())
        except PackageNotFoundError as error:
            sys.exit(f"{error.name}: is not installed here, but an image needs it: make check installs all")
    else:
        sys.exit("usage: python -m deploy.images.constraints [--cuda]")


if __name__ == "__main__":
    main(sys.argv[1:])
