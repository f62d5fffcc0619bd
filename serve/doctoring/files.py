"""Checks of where the gateway writes: run_dir, the audit file, and room on the disks."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serve.doctoring.finding import (
    Finding,
    Patient,
    error,
    info,
    readable_by_others,
    warning,
    writable_by_others,
)

# TorchServe's log takes up to 40 MB; the rest is for addresses, tokens and the audit.
RUN_DIR_BYTES = 100_000_000
# A copy of each archive, and what TorchServe unpacks from it.
COPIES = 2


def run_dir(patient: Patient) -> Iterator[Finding]:
    """Whether it can be written, by us alone."""
    folder = patient.config.run_dir
    if not _can_write(folder):
        yield error(
            f"run_dir, {folder}, cannot be written",
            "The gateway does not start without it.",
            "Mend its permissions, or set run_dir to a folder that the gateway's user owns.",
        )
        return
    if not folder.exists():
        return
    if writable_by_others(folder):
        yield error(
            f"run_dir, {folder}, can be changed by every user of this machine",
            "Whoever changes it can put links in the place of logs and tokens.",
            f"chmod o-w {folder} {folder.absolute().parent}",
        )
    elif readable_by_others(folder):
        yield info(
            f"run_dir, {folder}, can be looked into by every user of this machine",
            "TorchServe's log is there for all to read; tokens and the audit are not.",
            f"chmod o-rx {folder}, where others share the machine.",
        )


def audit_file(patient: Patient) -> Iterator[Finding]:
    """Whether acts can be taken down, for our eyes only."""
    path = patient.config.audit_path
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as problem:
        yield _no_audit(path, problem.strerror or "")
        return
    if mode is None:
        if not _can_write(path.parent):
            yield _no_audit(path, "its folder cannot be written")
    elif not stat.S_ISREG(mode):
        yield _no_audit(path, "it is a link or no file at all, which is never followed")
    elif not os.access(path, os.R_OK | os.W_OK):
        yield _no_audit(path, "it cannot be written")
    elif mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield warning(
            f"audit_file, {path}, has the mode {stat.S_IMODE(mode):03o}",
            "Others read who did what, or could change it; the gateway narrows it with its next line.",
            f"chmod 600 {path}",
        )


def _no_audit(path: Path, reason: str) -> Finding:
    return error(
        f"audit_file, {path}, cannot be used: {reason}",
        "Who loads and unloads models would only be told in the log.",
        "Set audit_file to a place that the gateway's user can write.",
    )


def room(patient: Patient) -> Iterator[Finding]:
    """Whether the disks have room for logs, and for what TorchServe unpacks."""
    free = shutil.disk_usage(_existing(patient.config.run_dir)).free
    if free < RUN_DIR_BYTES:
        yield warning(
            f"run_dir, {patient.config.run_dir}, has {_mb(free)} MB left, {_mb(RUN_DIR_BYTES)} are needed",
            "When it is full, logs and the audit are lost; requests are still answered.",
            "Make room, or set run_dir to another disk.",
        )
    if not patient.supervises:
        return
    temporary = Path(tempfile.gettempdir())
    needed = COPIES * sum(archive.path.stat().st_size for archive in patient.store.archives)
    free = shutil.disk_usage(temporary).free
    if free < needed:
        yield error(
            f"{temporary} has {_mb(free)} MB left, the models need about {_mb(needed)}",
            "Each archive is copied there and unpacked; without room it cannot be loaded.",
            "Make room, or set TMPDIR to a disk with more (its path must be short, for unix sockets).",
        )


def _can_write(folder: Path) -> bool:
    """Whether files can be made in it, or it can be made itself."""
    nearest = _existing(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"
