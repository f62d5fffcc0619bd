"""Runs images without a container engine: as strictly as a pod would, in namespaces of their own.

A container here has a read-only root of the image's files, an empty /tmp in memory, a network that is only
its own loopback, a process table of its own in which its program is process 1, and no way to more rights.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.images.trial import ROOT, Trial

# What mounts need; they are gone with the change of user.
_RIGHTS = "--bounding-set=-all,+sys_chroot,+setuid,+setgid"
_START_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The files of an image and what it says of how it is to be run."""

    root: Path
    config: Mapping[str, Any]

    @property
    def user(self) -> tuple[int, int]:
        """Numbers of user and group."""
        user, group = self.config["User"].split(":")
        return int(user), int(group)

    def command(self, program: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """The command that becomes this program in the image's environment and folder."""
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        return ["env", "-i", "-C", self.config["WorkingDir"], *variables, *program]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a pod adds to an image.

    Attributes:
        arguments: For the image's entry point.
        environment: Variables beside the image's own.
        volumes: Folders of ours by where they are in the container.
    """

    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A program that was started from an image.

    Attributes:
        image: Where it comes from.
        process: What waits for it, with its output.
    """

    image: Image
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Of the container's process 1, as we see it."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        deadline = time.monotonic() + _START_S
        while not (children := listed.read_text(encoding="ascii").split()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
        return int(children[0])

    def status(self, name: str) -> list[str]:
        """A line of /proc/PID/status of process 1."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        (found,) = (line.split()[1:] for line in lines if line.startswith(f"{name}:"))
        return found

    def run(self, *program: str) -> subprocess.CompletedProcess[str]:
        """Run another program inside, as a pod's probes are run."""
        user, group = self.image.user
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--root"]
        return subprocess.run(
            [*inside, f"--setuid={user}", f"--setgid={group}", "--", *self.image.command(program, {})],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def is_healthy(self) -> bool:
        """What the image's own HEALTHCHECK says."""
        kind, *program = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.run(*program).returncode == 0

    def wait_until(self, *program: str, within_s: float) -> None:
        """Run a program inside again and again until it ends well."""
        deadline = time.monotonic() + within_s
        while (done := self.run(*program)).returncode:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, done
            time.sleep(0.3)

    def terminate(self, within_s: float) -> int:
        """Send SIGTERM to process 1, as a pod's end does; the status that it ends with."""
        os.kill(self.pid, signal.SIGTERM)
        self.process.communicate(timeout=within_s)
        return self.process.returncode


@contextmanager
def started(image: Image, settings: Settings) -> Iterator[Container]:
    """The image's entry point at work; killed if it is not ended before."""
    inside = [*image.config["Entrypoint"], *settings.arguments]
    user, group = image.user
    program = image.command(inside, settings.environment)
    become = ["setpriv", "--no-new-privs", _RIGHTS, "chroot", f"--userspec=+{user}:+{group}", "--groups="]
    script = [
        *_mounts(image.root, settings.volumes),
        f"exec {shlex.join([*become, str(image.root), *program])}",
    ]
    process = subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--pid",
            "--net",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            "\n".join(script),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Container(image=image, process=process)
    finally:
        process.kill()
        process.communicate()


def _mounts(root: Path, volumes: Mapping[str, Path]) -> Iterator[str]:
    """Lines for a shell that put the container's files together; the root is made read-only last."""
    yield "ip link set lo up"
    yield f"mount --bind {root} {root}"
    for inside, ours in volumes.items():
        yield f"mkdir -p {root}{inside}; mount --bind {ours} {root}{inside}"
    yield f"mount -t tmpfs -o mode=1777,size=1g tmpfs {root}/tmp"  # noqa: S108 - the container's
    yield f"mount -t proc proc {root}/proc"
    yield f"mount --rbind /dev {root}/dev"
    yield f"mount -o remount,bind,ro {root}"


@contextmanager
def opened(trial: Trial, name: str) -> Iterator[Image]:
    """An image that was built, with files of its own."""
    with trial.mounted(name) as root:
        yield Image(root=root, config=trial.config(name))


def build_context(folder: Path) -> Path:
    """A copy of what images are made of, so that what else the repository's folder holds plays no part."""
    ignored = shutil.ignore_patterns("__pycache__", "archives")
    for name in ("deploy/images", "handlers", "loadtests", "model_store", "serve"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in (".dockerignore", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder
