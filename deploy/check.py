"""Checks everything in deploy/ without a cluster: `python deploy/check.py`, or `make deploy-check`.

Every overlay is built with kustomize, alone and with each component, and every object in it is held against
the strict schemas of two versions of Kubernetes; an object whose kind has no schema is a problem, not a
warning. Dockerfiles go through hadolint, all YAML through yamllint.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

DEPLOY = Path(__file__).resolve().parent
# The oldest that has all we use without a feature gate, and the newest that the validator knows.
KUBERNETES_VERSIONS = ("1.32", kubernetes_validate.latest_version())
_TOOLS = Path(sys.executable).parent  # hadolint and yamllint are installed beside Python

Manifest = dict[str, Any]


def overlays() -> list[Path]:
    """The folders that can be applied to a cluster."""
    return sorted(path.parent for path in DEPLOY.glob("overlays/*/kustomization.yaml"))


def components() -> list[Path]:
    """The folders that an overlay can add to what it has."""
    return sorted(path.parent for path in DEPLOY.glob("components/*/kustomization.yaml"))


def dockerfiles() -> list[Path]:
    """The recipes of our images."""
    return sorted(DEPLOY.glob("images/*.Dockerfile"))


def build(overlay: Path) -> list[Manifest]:
    """The objects that `kubectl apply --kustomize` would send.

    Raises:
        subprocess.CalledProcessError: kustomize refuses the overlay; `stderr` says why.
    """
    done = subprocess.run(  # noqa: S603 - our own folder
        ["kubectl", "kustomize", str(overlay)],  # noqa: S607 - the user's kubectl
        check=True,
        capture_output=True,
        text=True,
    )
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest is not None]


def check_overlay(overlay: Path) -> list[str]:
    """Problems of one overlay, empty when it is right."""
    try:
        manifests = build(overlay)
    except subprocess.CalledProcessError as error:
        return [str(error.stderr).strip()]
    except FileNotFoundError:
        return ["kubectl is not on PATH; to install it: https://kubernetes.io/docs/tasks/tools/#kubectl"]
    if not manifests:
        return [f"{overlay}: builds to nothing"]
    return check_manifests(manifests)


def check_component(component: Path, overlay: Path) -> list[str]:
    """Problems of a component, empty when it is right; only within an overlay is it built at all."""
    with tempfile.TemporaryDirectory(prefix="attnserve-deploy-") as folder:
        write_overlay(Path(folder), overlay, component)
        return check_overlay(Path(folder))


def write_overlay(folder: Path, overlay: Path, component: Path) -> None:
    """Write into a folder what a user writes who wants a component beside an overlay."""
    own = yaml.safe_load((overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    # kustomize takes no absolute paths; from behind a link the way up would lead elsewhere.
    base, added = (os.path.relpath(path.resolve(), folder.resolve()) for path in (overlay, component))
    kustomization = {"resources": [base], "components": [added]}
    if "namespace" in own:
        kustomization["namespace"] = own["namespace"]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")


def check_manifests(manifests: Iterable[Manifest]) -> list[str]:
    """What the schemas of each version say against the objects; one problem an object and version."""
    return [
        problem
        for manifest in manifests
        for version in KUBERNETES_VERSIONS
        if (problem := _check_manifest(manifest, version)) is not None
    ]


def check_dockerfile(path: Path) -> list[str]:
    """What hadolint says of a Dockerfile."""
    return _lines_of_failure([str(_TOOLS / "hadolint"), "--no-color", str(path)])


def check_yaml() -> list[str]:
    """What yamllint says of all YAML below deploy/."""
    configuration = DEPLOY.parent / ".yamllint.yaml"
    return _lines_of_failure([str(_TOOLS / "yamllint"), "--strict", "-c", str(configuration), str(DEPLOY)])


def checks() -> dict[str, Callable[[], list[str]]]:
    """Every check by name; calling one gives its problems."""
    return (
        {f"overlay {path.name}": partial(check_overlay, path) for path in overlays()}
        | {
            f"component {component.name} in {overlay.name}": partial(check_component, component, overlay)
            for component in components()
            for overlay in overlays()
        }
        | {path.name: partial(check_dockerfile, path) for path in dockerfiles()}
        | {"yamllint": check_yaml}
    )


def _check_manifest(manifest: Manifest, version: str) -> str | None:
    what = f"{manifest.get('kind')}/{manifest.get('metadata', {}).get('name')} on Kubernetes {version}"
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{what}: {'.'.join(map(str, error.path))}: {error.message}"
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError) as error:
        return f"{what}: {error.message}"
    return None


def _lines_of_failure(command: list[str]) -> list[str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - fixed programs
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def main() -> int:
    """Runs all checks and prints what they find; the exit code is 1 where that is anything."""
    failed = False
    for name, check in checks().items():
        problems = check()
        print("FAIL" if problems else "ok  ", name)  # noqa: T201 - a program's answer
        for problem in problems:
            print(f"     {problem}")  # noqa: T201 - as above
        failed = failed or bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
