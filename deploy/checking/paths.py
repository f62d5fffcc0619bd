"""Where the parts of deploy/ are."""

import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent
TOOLS = Path(sys.executable).parent  # hadolint and yamllint are installed beside Python


def overlays() -> list[Path]:
    """The folders that can be applied to a cluster."""
    return _kustomized("overlays/*")


def scenarios() -> list[Path]:
    """Overlays with something added, for one purpose."""
    return _kustomized("scenarios/*")


def variants() -> list[Path]:
    """The workers' variants, and what scales each."""
    return [*_kustomized("variants/*"), *_kustomized("variants/*/*")]


def components() -> list[Path]:
    """The folders that an overlay can add to what it has."""
    return _kustomized("components/*")


def kustomizations() -> list[Path]:
    """Every folder that kustomize can build or add."""
    return _kustomized("**")


def dockerfiles() -> list[Path]:
    """The recipes of our images."""
    return sorted(DEPLOY.glob("images/*.Dockerfile"))


def _kustomized(folders: str) -> list[Path]:
    return sorted(path.parent for path in DEPLOY.glob(f"{folders}/kustomization.yaml"))
