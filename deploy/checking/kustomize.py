"""Builds with kustomize: what `kubectl apply --kustomize` would send, made once for all checks."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deploy.checking import paths
from deploy.checking.outcome import Outcome, counted

Manifest = dict[str, Any]

# An annotation in a component's kustomization.yaml: the overlays, by name, to which it can be added. Without
# it a component can be added to every overlay that does not have it already.
SUITABLE = "attnserve.dev/overlays"

_AT_A_TIME = 4
# The one in C takes a tenth of the time, and reads the same YAML.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NO_KUBECTL = "kubectl is not on PATH; to install it: https://kubernetes.io/docs/tasks/tools/#kubectl"


class BuildError(Exception):
    """kustomize refuses a folder, or there is no kubectl; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something to build.

    Attributes:
        name: What it is, in words.
        folder: The folder of an overlay, a scenario or a variant.
        component: What is added to it; None for what stands for itself.
    """

    name: str
    folder: Path
    component: Path | None = None

    @property
    def whole(self) -> bool:
        """Whether it can be applied as it is, which a variant alone cannot."""
        return self.folder.parent.name in ("overlays", "scenarios")

    @property
    def applied(self) -> bool:
        """Whether it is an overlay or a scenario, with nothing added for the check's sake."""
        return self.whole and self.component is None

    @property
    def released(self) -> bool:
        """Whether its images must be given by digest: an overlay or scenario that is not for development.

        A component brings images, too; whoever adds it to an overlay gives their digests there.
        """
        built = reached(self.folder)
        return self.applied and not any(
            folder.parent.name == "overlays" and folder.name.startswith("dev-") for folder in built
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a target came to.

    Attributes:
        target: What was built.
        manifests: Its objects, at least one; none where it failed.
        problem: Why it failed; "" where it did not.
    """

    target: Target
    manifests: list[Manifest]
    problem: str = ""


def build(folder: Path) -> list[Manifest]:
    """The objects that `kubectl apply --kustomize` would send.

    Raises:
        BuildError: kustomize refuses the folder, it builds to nothing, or kubectl is missing.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own folder
            ["kubectl", "kustomize", str(folder)],  # noqa: S607 - the user's kubectl
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise BuildError(NO_KUBECTL) from None
    if done.returncode:
        # kubectl logs it: E1121 12:21:55.0 7 run.go:72] "command failed" err="..."
        raise BuildError(done.stderr.strip().partition(" err=")[2] or done.stderr.strip())
    manifests = [manifest for manifest in yaml.load_all(done.stdout, Loader=_LOADER) if manifest]
    if not manifests:
        raise BuildError(f"{folder}: builds to nothing")
    return manifests


def write_overlay(folder: Path, overlay: Path, component: Path) -> None:
    """Write into a folder what a user writes who wants a component beside an overlay."""
    own = _read(overlay)
    # kustomize takes no absolute paths; from behind a link the way up would lead elsewhere.
    base, added = (os.path.relpath(path.resolve(), folder.resolve()) for path in (overlay, component))
    kustomization = {"resources": [base], "components": [added]}
    if "namespace" in own:
        kustomization["namespace"] = own["namespace"]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")


def build_with(overlay: Path, component: Path) -> list[Manifest]:
    """The objects of an overlay to which a component is added.

    Raises:
        BuildError: As `build`.
    """
    with tempfile.TemporaryDirectory(prefix="attnserve-deploy-") as folder:
        write_overlay(Path(folder), overlay, component)
        return build(Path(folder))


def targets() -> list[Target]:
    """Everything that is built: overlays, scenarios, variants, and components in the overlays they suit."""
    alone = [*paths.overlays(), *paths.scenarios(), *paths.variants()]
    return [
        *(Target(name=_name(folder), folder=folder) for folder in alone),
        *(
            Target(
                name=f"{_name(component)} in {overlay.name}",
                folder=overlay,
                component=component,
            )
            for component in paths.components()
            for overlay in suitable_overlays(component)
        ),
    ]


def suitable_overlays(component: Path) -> list[Path]:
    """The overlays to which a component can be added: those that it names, or all; none that has it."""
    named = _read(component).get("metadata", {}).get("annotations", {}).get(SUITABLE)
    return [
        overlay
        for overlay in paths.overlays()
        if (named is None or overlay.name in named.split()) and component not in reached(overlay)
    ]


def reached(folder: Path) -> set[Path]:
    """A folder with kustomization.yaml, and all such folders that it is made of."""
    found = {folder.resolve()}
    for part in _parts(folder.resolve()):
        found |= reached(part)
    return found


@cache
def make(target: Target) -> Build:
    """Build one target, once in a process; a failure is told in the result."""
    try:
        if target.component is None:
            return Build(target=target, manifests=build(target.folder))
        return Build(target=target, manifests=build_with(target.folder, target.component))
    except BuildError as error:
        return Build(target=target, manifests=[], problem=f"{target.name}: {error}")


def make_all() -> list[Build]:
    """Build everything, several at a time."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(make, targets()))


def different(builds: Iterable[Build]) -> Iterator[tuple[Build, list[Manifest]]]:
    """Each build with those of its objects that no build before has: most are the same in many."""
    seen: set[str] = set()
    for made in builds:
        new = []
        for manifest in made.manifests:
            content = json.dumps(manifest, sort_keys=True, default=str)
            if content not in seen:
                seen.add(content)
                new.append(manifest)
        yield made, new


def different_objects(builds: Iterable[Build]) -> list[Manifest]:
    """Every object of all builds, once."""
    return [manifest for _, manifests in different(builds) for manifest in manifests]


def check_builds(builds: list[Build]) -> Outcome:
    """Everything builds, and no kustomization.yaml is left out of all builds."""
    if any(NO_KUBECTL in build.problem for build in builds):
        return Outcome(problems=[NO_KUBECTL])  # once, not for each
    return Outcome(
        looked_at=counted(len(builds), "build"),
        problems=[*(build.problem for build in builds if build.problem), *_left_out(builds)],
    )


def _left_out(builds: list[Build]) -> Iterator[str]:
    built = {
        folder
        for made in builds
        for start in (made.target.folder, made.target.component)
        if start
        for folder in reached(start)
    }
    for folder in paths.kustomizations():
        if folder not in built:
            yield (
                f"{folder.relative_to(paths.ROOT)}: no overlay, scenario or variant takes it in: "
                "add it to one"
            )


def _parts(folder: Path) -> Iterator[Path]:
    own = _read(folder)
    for entry in [*own.get("resources", ()), *own.get("components", ())]:
        path = (folder / entry).resolve()
        if (path / "kustomization.yaml").is_file():
            yield path


@cache
def _read(folder: Path) -> Mapping[str, Any]:
    text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
    try:
        own = next(yaml.load_all(text, Loader=_LOADER), None)
    except yaml.YAMLError:  # kustomize says what is wrong with it when it builds the folder
        return {}
    return own if isinstance(own, dict) else {}


def _name(folder: Path) -> str:
    """Its place below deploy/, in words: overlay staging, variant se/hpa."""
    kind, *rest = folder.relative_to(paths.DEPLOY).parts
    return f"{kind.removesuffix('s')} {'/'.join(rest)}"
