"""The gateway as it would start in a cluster: its pods, and the configuration that it would read there."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.checking.by_reference import SECRETS
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import NAME, Pod, named, pods
from serve.config import PREFIX, ConfigError, read_config
from serve.settings import Config

_TOKENS = "gateway-tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway whose configuration is right.

    Attributes:
        pod: Its pods.
        config: What it reads there; its tokens are an example.
    """

    pod: Pod
    config: Config

    @property
    def container(self) -> Mapping[str, Any]:
        """The gateway itself among the pod's containers."""
        return main_container(self.pod)


def gateways(manifests: Sequence[Manifest]) -> list[Pod]:
    """The gateway's pods."""
    return [pod for pod in pods(manifests) if pod.labels.get(NAME) == "gateway"]


def workers(manifests: Sequence[Manifest]) -> list[Pod]:
    """The workers' pods, of every variant."""
    return [pod for pod in pods(manifests) if pod.labels.get(NAME) == "worker"]


def main_container(pod: Pod) -> Mapping[str, Any]:
    """The first container, which is what the pod is for."""
    first: Mapping[str, Any] = pod.spec["containers"][0]
    return first


def gateway(manifests: Sequence[Manifest]) -> Gateway | None:
    """The gateway; None where there is none, or where it would refuse its configuration."""
    for pod in gateways(manifests):
        try:
            return Gateway(pod=pod, config=_config(pod, manifests))
        except ConfigError:
            return None
    return None


def refusals(manifests: Sequence[Manifest]) -> Iterator[str]:
    """What the gateway would say of its configuration before it refuses to start."""
    for pod in gateways(manifests):
        try:
            _config(pod, manifests)
        except ConfigError as error:
            yield f"{pod.title}: the gateway refuses its configuration, mend it: {error}"


def mounted_file(pod: Pod, path: str, manifests: Sequence[Manifest]) -> str | None:
    """The text of a file that a ConfigMap brings into the pod's first container; None where none does."""
    folder, _, name = path.rpartition("/")
    mounted = {
        mount["name"] for mount in main_container(pod).get("volumeMounts", ()) if mount["mountPath"] == folder
    }
    for volume in pod.spec.get("volumes", ()):
        if volume["name"] in mounted:
            return _data(manifests, volume.get("configMap", {}).get("name")).get(name)
    return None


def _config(pod: Pod, manifests: Sequence[Manifest]) -> Config:
    container = main_container(pod)
    path = _option(container.get("args", ()), "--config")
    text = mounted_file(pod, path, manifests)
    if text is None:
        raise ConfigError(f"{path}: no ConfigMap that is mounted there has this file")
    with tempfile.TemporaryDirectory(prefix="attnserve-deploy-") as folder:
        # What the Secret brings in the cluster; without tokens the gateway would rightly refuse.
        tokens, file = Path(folder, "tokens.yaml"), Path(folder, Path(path).name)
        tokens.write_text(SECRETS[_TOKENS].keys["tokens.yaml"], encoding="utf-8")
        file.write_text(text, encoding="utf-8")
        environment = _environment(container, manifests)
        if "tokens_file" in text or f"{PREFIX}TOKENS_FILE" in environment:
            environment |= {f"{PREFIX}TOKENS_FILE": str(tokens)}
        try:
            return read_config(file, environment)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(file), path)) from None


def _option(arguments: Sequence[str], name: str) -> str:
    for argument, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == name:
            return value
    raise ConfigError(f"the arguments {list(arguments)} do not hold {name} FILE")


def _environment(container: Mapping[str, Any], manifests: Sequence[Manifest]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= _data(manifests, source.get("configMapRef", {}).get("name"))
    for variable in container.get("env", ()):
        found[variable["name"]] = str(variable.get("value", "")) or _taken(
            variable.get("valueFrom", {}), manifests
        )
    return found


def _taken(source: Mapping[str, Any], manifests: Sequence[Manifest]) -> str:
    if "configMapKeyRef" in source:
        reference = source["configMapKeyRef"]
        return _data(manifests, reference["name"]).get(reference["key"], "")
    if "secretKeyRef" in source:
        reference = source["secretKeyRef"]
        known = SECRETS.get(reference["name"])
        return known.keys.get(reference["key"], "") if known else ""
    return ""


def _data(manifests: Sequence[Manifest], name: str | None) -> Mapping[str, str]:
    found = named(manifests, "ConfigMap", name)
    return found.get("data", {}) if found else {}
