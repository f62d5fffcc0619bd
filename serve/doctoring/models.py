"""Checks of the model store: what is in it is code that the workers run."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

import yaml

from serve.archive import SUMS, Archive, ArchiveError, read_sums
from serve.doctoring.finding import Finding, Patient, error, info, warning, writable_by_others

MODEL_CONFIG = "model-config.yaml"
TORCHSERVE_RESPONSE_TIMEOUT_S = 120.0


def model_store(patient: Patient) -> Iterator[Finding]:
    """Whether there is one, with something in it, that only its owner changes."""
    if not patient.supervises:
        return
    folder = patient.config.model_store
    if not folder.is_dir():
        yield error(
            f"model_store, {folder}, is not there",
            "The gateway will have no models.",
            "Make the demo's with `attnserve build --demo`, or set model_store.",
        )
        return
    archives = sorted(folder.glob("*.mar"))
    if not archives:
        yield error(
            f"model_store, {folder}, is empty",
            "The gateway will have no models.",
            "Make the demo's with `attnserve build --demo`, or set model_store.",
        )
    for path in (folder, folder / SUMS, *archives):
        if path.exists() and writable_by_others(path):
            yield error(
                f"{path} can be changed by every user of this machine",
                "Whoever puts an archive there has the workers run their code.",
                f"chmod o-w {path} {path.absolute().parent}",
            )
            return


def archives(patient: Patient) -> Iterator[Finding]:
    """Whether every archive is the listed one and can be opened, and every wanted model is there."""
    folder = patient.config.model_store
    if not patient.supervises or not folder.is_dir():
        return
    for refusal in patient.store.refusals:
        yield error(
            refusal.error.message,
            "It will not be loaded: an archive is code, and this one is not known to be yours.",
            f"See where it comes from, then build or list it again ({SUMS}).",
        )
    yield from _listed_and_gone(patient)
    yield from _wanted_and_missing(patient)
    untrained = sorted(str(one.card.ref) for one in patient.store.archives if not one.card.trained)
    if untrained:
        yield warning(
            f"untrained: {', '.join(untrained)}",
            "What they answer means nothing.",
            "Keep them for measurements of speed; build those for callers with a checkpoint.",
        )


def _listed_and_gone(patient: Patient) -> Iterator[Finding]:
    folder = patient.config.model_store
    try:
        listed = read_sums(folder)
    except ArchiveError:
        return  # each archive was refused for it
    gone = sorted(name for name in listed if not (folder / name).exists())
    if gone:
        yield info(
            f"listed in {SUMS}, and not there: {', '.join(gone)}",
            "They may have been lost.",
            f"Bring them back, or take their lines out of {folder / SUMS}.",
        )


def _wanted_and_missing(patient: Patient) -> Iterator[Finding]:
    wanted = {(name, "") for name in patient.config.models} | set(patient.config.default_versions.items())
    there = {(one.card.ref.name, one.card.ref.version) for one in patient.store.archives}
    there |= {(name, "") for name in patient.store.names}
    for name, version in sorted(wanted - there):
        setting, which = ("default_versions", f"{name} version {version}") if version else ("models", name)
        yield error(
            f"{setting} names {which}, which is not in {patient.config.model_store}",
            "The gateway will not become ready without it.",
            f"Build it, or take it out of {setting}.",
        )


def response_timeouts(patient: Patient) -> Iterator[Finding]:
    """Whether the gateway waits longer for a batch than TorchServe does."""
    longest_s = patient.config.attempts.attempt_timeout_s
    late = {}
    for archive in patient.store.archives:
        timeout_s = _response_timeout_s(archive)
        if timeout_s >= longest_s:
            late[str(archive.card.ref)] = timeout_s
    if late:
        listed = ", ".join(f"{name} ({timeout_s:g} s)" for name, timeout_s in sorted(late.items()))
        yield warning(
            f"attempts.attempt_timeout_s, {longest_s:g}, is not above the responseTimeout of {listed}",
            "The gateway gives up while TorchServe still lets the hung worker be, so it stays hung longer.",
            "Raise attempt_timeout_s, or build with a lower --response-timeout-s.",
        )


def _response_timeout_s(archive: Archive) -> float:
    try:
        with zipfile.ZipFile(archive.path) as file:
            settings = yaml.safe_load(file.read(MODEL_CONFIG))
        return float(settings["responseTimeout"])
    except (KeyError, OSError, TypeError, ValueError, yaml.YAMLError, zipfile.BadZipFile):
        return TORCHSERVE_RESPONSE_TIMEOUT_S
