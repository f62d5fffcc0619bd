"""Objects against schemas: Kubernetes' own on two versions, custom resources by the schemas of their CRDs."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator

from deploy.checking import paths
from deploy.checking.kustomize import Build, Manifest, different_objects
from deploy.checking.outcome import Outcome, counted

# The oldest that has all we use without a feature gate, and the newest that the validator knows.
KUBERNETES_VERSIONS = ("1.32", kubernetes_validate.latest_version())

# Written by whoever made the schemas from the CRDs: how many rules in CEL a schema does not hold.
_CEL_RULES = "x-cel-rules-not-checked"


def crd_schemas() -> Path:
    """The folder with the schemas of custom resources, files KIND_GROUP_VERSION.json in lower case."""
    return Path(os.environ.get("CRD_SCHEMAS") or paths.ROOT.parent / "shared" / "schemas")


def check_kubernetes(builds: Iterable[Build]) -> Outcome:
    """Kubernetes' own objects are right by the strict schemas of each version."""
    objects = [manifest for manifest in different_objects(builds) if not is_custom(manifest)]
    return Outcome(
        looked_at=f"{counted(len(objects), 'object')} on {' and '.join(KUBERNETES_VERSIONS)}",
        problems=check_manifests(objects),
    )


def check_custom(builds: Iterable[Build], folder: Path) -> Outcome:
    """Custom resources are right by the schemas of their CRDs, of which each must be there.

    Args:
        builds: What has been built.
        folder: Where the schemas are; without it nothing is checked.
    """
    objects = [manifest for manifest in different_objects(builds) if is_custom(manifest)]
    if not folder.is_dir():
        return Outcome(skipped=f"no folder {folder}; CRD_SCHEMAS=DIR names one with schemas of CRDs")
    found = {_file(manifest) for manifest in objects}
    rules = sum(_schema(folder / name).get(_CEL_RULES, 0) for name in found if (folder / name).is_file())
    return Outcome(
        looked_at=f"{counted(len(objects), 'object')}; {counted(rules, 'CEL rule')} not checked",
        problems=check_custom_manifests(objects, folder),
    )


def check_manifests(manifests: Iterable[Manifest]) -> list[str]:
    """What the schemas of each version say against the objects; one problem an object and version."""
    return [
        problem
        for manifest in manifests
        for version in KUBERNETES_VERSIONS
        if (problem := _check_manifest(manifest, version)) is not None
    ]


def check_custom_manifests(manifests: Iterable[Manifest], folder: Path) -> list[str]:
    """What the CRDs' schemas say against custom resources, and which kinds have none."""
    return [problem for manifest in manifests for problem in _check_custom(manifest, folder)]


def is_custom(manifest: Manifest) -> bool:
    """Whether its kind is not Kubernetes' own, in any version of its group."""
    return str(manifest.get("apiVersion")).rpartition("/")[0] not in _own_groups()


@cache
def _own_groups() -> frozenset[str]:
    version = KUBERNETES_VERSIONS[-1]
    schemas = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    definitions = json.loads((schemas / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    kinds = (kind for schema in definitions.values() for kind in schema.get(_KINDS, ()))
    return frozenset(kind["group"] for kind in kinds)


_KINDS = "x-kubernetes-group-version-kind"


def _check_manifest(manifest: Manifest, version: str) -> str | None:
    what = f"{_title(manifest)} on Kubernetes {version}"
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{what}: {'.'.join(map(str, error.path))}: {error.message}"
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError) as error:
        return f"{what}: {error.message}"
    return None


def _check_custom(manifest: Manifest, folder: Path) -> Iterator[str]:
    file = folder / _file(manifest)
    if not file.is_file():
        yield (
            f"{_title(manifest)}: no schema for {manifest.get('apiVersion')}: add {file.name}, "
            f"made from its CRD, to {folder}"
        )
        return
    for error in Draft202012Validator(_schema(file)).iter_errors(manifest):
        yield f"{_title(manifest)}: {'.'.join(map(str, error.path))}: {error.message}"


def _file(manifest: Manifest) -> str:
    group, _, version = str(manifest.get("apiVersion")).rpartition("/")
    return f"{str(manifest.get('kind')).lower()}_{group}_{version}.json"


@cache
def _schema(file: Path) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def _title(manifest: Manifest) -> str:
    return f"{manifest.get('kind')}/{manifest.get('metadata', {}).get('name')}"
