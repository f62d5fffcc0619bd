"""What the gateway sends requests to is there: a Service for each engine, workers behind it, their models."""

from collections.abc import Iterator, Sequence

import yaml

from deploy.checking.gateway import gateway, refusals
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import Pod, behind, name_in_cluster, named, of_kind, title
from serve.core.designs import design_of
from serve.core.errors import InvalidRequestError
from serve.core.experiment import Design
from serve.discovery import Address
from serve.sections import EngineConfig

# The label of a ConfigMap that brings an experiment's document, and the key under which it lies there.
EXPERIMENT_LABEL = "attnserve.dev/experiment"
EXPERIMENT_KEY = "experiment.yaml"


def engines_without_workers(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Engines of the gateway that lead to no worker, or to one that does not hold their models."""
    for engine in _engines(manifests):
        for lack in _lacks(engine, manifests):
            yield f"the gateway's engine {engine.address}: {lack}"


def experiments_without_workers(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Experiments with an arm that nothing here could answer for."""
    for document in of_kind(manifests, "ConfigMap"):
        if document["metadata"].get("labels", {}).get(EXPERIMENT_LABEL) == "true":
            try:
                design = _design(document["data"][EXPERIMENT_KEY])
            except KeyError:
                yield f"{title(document)}: put the experiment's document under the key {EXPERIMENT_KEY}"
            except (InvalidRequestError, yaml.YAMLError) as error:
                yield f"{title(document)}: the gateway refuses this experiment, mend it: {error}"
            else:
                yield from _unanswered(design, document, manifests)


def _design(text: str) -> Design:
    """What `attnserve experiment create` reads: a design, and the reason to make it, which is none of it."""
    document = yaml.safe_load(text)
    if isinstance(document, dict):
        document.pop("reason", None)
    return design_of(document)


def _unanswered(design: Design, document: Manifest, manifests: Sequence[Manifest]) -> Iterator[str]:
    if any(refusals(manifests)):  # that is said by another rule, and what it holds is not known
        return
    for arm in design.arms:
        says = f"{title(document)}: arm {arm.name} of experiment {design.name} names model {arm.model}, "
        holding = [engine for engine in _engines(manifests) if arm.model in engine.names]
        if not holding:
            yield (
                f"{says}which no engine of the gateway holds: take in the variant that serves it, and list "
                f"its Service with models: [{arm.model}] in the overlay's engines.yaml"
            )
        for engine in holding:
            for lack in _lacks(engine, manifests):
                yield f"{says}but of its engine {engine.address}: {lack}"


def _engines(manifests: Sequence[Manifest]) -> Sequence[EngineConfig]:
    found = gateway(manifests)
    return found.config.engines if found else ()


def _lacks(engine: EngineConfig, manifests: Sequence[Manifest]) -> Iterator[str]:
    """What an engine needs and has not, up to the first thing without which the rest makes no sense."""
    address = Address.parse(engine.address)
    name = name_in_cluster(address.host)
    service = named(manifests, "Service", name)
    if service is None:
        yield f"there is no Service {name}: take in the variant that brings it, or take the engine out"
        return
    if service["spec"].get("clusterIP") != "None":
        yield (
            f"Service {name} is not headless, and a connection would stay with one worker: "
            "set clusterIP: None"
        )
    if address.port not in [port["port"] for port in service["spec"]["ports"]]:
        yield f"Service {name} has no port {address.port}: give the engine one that it has"
    workers = [pod for pod in behind(manifests, service) if pod.owner["kind"] == "Deployment"]
    if not workers:
        yield f"no Deployment has pods that Service {name} selects: take in the variant, or mend the selector"
    for pod in workers:
        yield from _missing_archives(engine, pod)


def _missing_archives(engine: EngineConfig, pod: Pod) -> Iterator[str]:
    # An image volume brings what was put into the image; that is not to be seen here.
    if any("image" in volume for volume in pod.spec.get("volumes", ())):
        return
    for model in engine.models:
        archive = archive_of(model)
        if archive not in archives_of(pod):
            yield (
                f"{pod.title} does not fetch {archive}: name it in the arguments of the variant's init "
                f"container, or take model {model} from the engine"
            )


def archives_of(pod: Pod) -> set[str]:
    """The archives that a pod's init container is told to fetch."""
    arguments = (argument for container in pod.containers for argument in container.get("args", ()))
    return {argument for argument in arguments if argument.endswith(".mar")}


def archive_of(model: str) -> str:
    """The file of NAME or NAME:VERSION, as `attnserve build` calls it."""
    name, _, version = model.partition(":")
    return f"{name}.mar" if version in ("", "1") else f"{name}-v{version}.mar"
