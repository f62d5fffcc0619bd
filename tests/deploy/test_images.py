"""What Dockerfiles and pins must keep to, seen without a build."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy.images import constraints, requirements_of, slim, worker_start
from deploy.images.trial import BUILT, IMAGES, ROOT
from serve.torchserve_config import DEFAULT_JAVA_OPTIONS
from serve.worker_start import PROGRAM

NAMES = ("gateway", "loadtest", "models", "worker", "worker-cuda")
INSTALLING = tuple(name for name in NAMES if constraints.EXTRAS[name])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions(name: str) -> list[str]:
    """Each instruction of a Dockerfile on one line, without comments."""
    text = (IMAGES / f"{name}.Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [re.sub(r"\s+", " ", line) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line]


def final(name: str) -> list[str]:
    """The instructions of the stage that becomes the image."""
    lines = instructions(name)
    begun = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return lines[begun + 1 :]


def the(name: str, instruction: str) -> str:
    """The one instruction of that kind in the final stage."""
    (found,) = (
        line.removeprefix(f"{instruction} ") for line in final(name) if line.startswith(f"{instruction} ")
    )
    return found


def test_every_dockerfile_is_looked_at() -> None:
    """All tables have the same names; the CUDA image is the one that is not built."""
    assert {path.name.removesuffix(".Dockerfile") for path in IMAGES.glob("*.Dockerfile")} == {*NAMES}
    assert constraints.EXTRAS.keys() == {*NAMES}
    assert {*BUILT} == {*NAMES} - {"worker-cuda"}


def test_all_have_one_base_whose_version_is_whole_and_that_can_be_given_another() -> None:
    """One Python for all, which the project supports; a digest or a stand-in may take its place."""
    bases = {line for name in NAMES for line in instructions(name) if line.startswith("ARG BASE")}
    (base,) = bases
    found = re.fullmatch(r"ARG BASE=python:(\d+\.\d+\.\d+)-slim-bookworm", base)
    assert found
    assert Version(found.group(1)) in Requirement(f"python{PROJECT['requires-python']}").specifier
    for name in NAMES:
        origins = [line.split(" AS ")[0] for line in instructions(name) if line.startswith("FROM ")]
        assert origins == ["FROM ${BASE}"] * 2, name


@pytest.mark.parametrize("name", NAMES)
def test_an_image_says_what_it_is(name: str) -> None:
    """By the labels that the OCI's image specification names in annotations.md."""
    label = the(name, "LABEL").replace("${VERSION}", the(name, "ARG").removeprefix("VERSION="))
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', label))
    assert labels.keys() == {"title", "description", "licenses", "version"}
    assert labels["title"] == f"attnserve-{name}"
    assert labels["version"] == PROJECT["version"]
    assert labels["licenses"] == PROJECT["license"]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_a_numbered_user_a_program_without_a_shell_and_a_word_on_health(name: str) -> None:
    """A pod's runAsNonRoot needs a number, and a shell as process 1 would keep SIGTERM for itself."""
    user, group = the(name, "USER").split(":")
    assert int(user) == int(group) >= 10_000
    assert the(name, "ENTRYPOINT").startswith('["')
    assert re.search(r'NONE|CMD \["python", ', the(name, "HEALTHCHECK"))


@pytest.mark.parametrize("name", NAMES)
def test_programs_that_an_image_starts_are_in_it(name: str) -> None:
    """What ENTRYPOINT and HEALTHCHECK name was copied there."""
    named = set(re.findall(r"/opt/attnserve/(\w+\.py)", the(name, "ENTRYPOINT") + the(name, "HEALTHCHECK")))
    copied = {
        file
        for line in final(name)
        if line.startswith("COPY deploy/")
        for file in re.findall(r"\w+\.py", line)
    }
    assert named <= copied


@pytest.mark.parametrize("name", INSTALLING)
def test_an_image_installs_the_extras_that_its_pins_were_made_for(name: str) -> None:
    """The Dockerfiles install what the table of extras says, and pip reads the pins."""
    text = "\n".join(instructions(name))
    whole = [("", *extras.split(",")) for extras in re.findall(r'install "\.\[(.*)\]"', text)]
    alone = [tuple(extras.split()) for extras in re.findall(r"requirements_of\.py ([\w -]+) >", text)]
    assert [*whole, *alone] == [constraints.EXTRAS[name]]
    (given,) = re.findall(r'PIP_CONSTRAINT="?([^"\n]+)', text)
    pins = [Path(path).relative_to("/src") for path in given.split()]
    assert constraints.CONSTRAINTS.relative_to(ROOT) in pins
    for path in pins:
        assert (ROOT / path).is_file()
        assert re.search(rf"COPY .*{re.escape(str(path))} .*deploy/images/\n", text)


def test_everything_that_an_image_installs_is_pinned() -> None:
    """What the extras need, and what that needs, as far as it is installed here."""
    pins = constraints.read(constraints.CONSTRAINTS)
    assert constraints.installed().keys() <= pins.keys()
    assert {"torch", "starlette", "setuptools"} <= pins.keys()


def test_pins_are_within_the_ranges_of_pyproject() -> None:
    """A range that was raised needs new pins: python -m deploy.images.constraints."""
    pins = constraints.read(constraints.CONSTRAINTS)
    asked = [
        requirement for extras in constraints.EXTRAS.values() for requirement in constraints.asked_for(extras)
    ]
    assert asked
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        assert pins[name] in requirement.specifier, requirement


def test_the_pins_of_cuda_are_only_what_the_other_build_lacks() -> None:
    """No package has two pins, and NVIDIA's libraries are among them."""
    cuda = constraints.read(constraints.CUDA_CONSTRAINTS)
    assert not cuda.keys() & constraints.read(constraints.CONSTRAINTS).keys()
    assert {"cuda-toolkit", "triton"} < cuda.keys()
    assert any(name.startswith("nvidia-cudnn") for name in cuda)


def test_pins_are_read_as_they_were_written(tmp_path: Path) -> None:
    """By name, sorted, under the command that makes them."""
    pins = {"b": "1.0", "a": "2026.1"}
    constraints.write(tmp_path / "pins", "the command", pins)
    assert (tmp_path / "pins").read_text() == "# Written by `the command`.\na==2026.1\nb==1.0\n"
    assert constraints.read(tmp_path / "pins") == pins


def test_what_is_not_installed_cannot_be_pinned() -> None:
    """The versions are those that ran here, and never a guess."""
    with pytest.raises(PackageNotFoundError):
        constraints.closure([Requirement("no-such-package")])


def test_an_extra_is_printed_alone() -> None:
    """As a build calls it: a worker's requirements hold torch, and nothing of the gateway's."""
    done = subprocess.run(
        [sys.executable, "-I", requirements_of.__file__, "worker", "fast-decode"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    names = {Requirement(line).name for line in done.stdout.splitlines()}
    assert {"torch", "torchserve", "simplejpeg"} <= names
    assert not names & {"fastapi", "scipy", "sqlalchemy"}


def test_an_extra_that_there_is_not_is_refused() -> None:
    """With the names of those that there are."""
    with pytest.raises(SystemExit, match=r"wroker: is no extra of .*which has: .*worker"):
        requirements_of.requirements_of(["wroker"], ROOT / "pyproject.toml")


def test_slimming_takes_tests_and_headers_and_leaves_what_runs(tmp_path: Path) -> None:
    """The bytes that it counts are those that are gone."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    gone = [
        *("scipy/tests/a.py", "scipy/stats/tests/deep/tests/b.py", "torch/include/tests/c.h", "torch/test/d"),
        *("torch/bin/protoc", "pyarrow/include/e.h", "pyarrow/libarrow_flight.so.1", "pyarrow/_s3fs.so"),
    ]
    kept = ["scipy/stats/f.py", "scipy/latests/g.py", "torch/bin/torch_shm_manager", "pyarrow/libarrow.so.1"]
    for name in [*gone, *kept]:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_bytes(b"12345")
    assert slim.slim(tmp_path) == 5 * len(gone)
    assert {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()} == {*kept}


def test_slimming_needs_a_virtual_environment(tmp_path: Path) -> None:
    """Nothing is removed from a folder that is none."""
    done = subprocess.run(
        [sys.executable, slim.__file__, tmp_path], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "usage: slim.py FOLDER" in done.stderr


def test_both_workers_are_one_but_for_cuda() -> None:
    """They differ in the build of torch, in its pins, and in what lets the GPU in."""
    cpu, cuda = (instructions(name) for name in ("worker", "worker-cuda"))
    only_cuda = [line.split()[0] for line in cuda if line not in cpu]
    only_cpu = [line.split()[0] for line in cpu if line not in cuda]
    assert only_cuda == ["ENV", "COPY", "LABEL", "ENV"]
    assert only_cpu == ["ARG", "ENV", "COPY", "LABEL"]


def test_a_pods_java_is_started_as_a_supervised_one() -> None:
    """The same options, and models start through the program that sets their process up."""
    command = worker_start.command(Path("/etc/torchserve"), Path("/tmp"))  # noqa: S108 - the image's own
    assert worker_start.JAVA_OPTIONS == DEFAULT_JAVA_OPTIONS
    assert tuple(command[1 : 1 + len(DEFAULT_JAVA_OPTIONS)]) == DEFAULT_JAVA_OPTIONS
    assert Path(command[command.index("--python") + 1]).name == PROGRAM
