"""What scales the workers: files that the capacity command writes, with targets from a queue."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner

from deploy.checking.paths import DEPLOY
from loadtests.capacity.__main__ import main
from loadtests.capacity.queue import simulate
from loadtests.capacity.service import Batching, Service

VARIANTS = DEPLOY / "variants"
ASSUMED = VARIANTS / "assumed.json"
# Every file with a target, whose comment has the options of the command.
FILES = sorted(
    path
    for pattern in ("variants/*/*/worker-*.yaml", "overlays/*/hpa/*.yaml", "scenarios/**/worker-*-hpa.yaml")
    for path in DEPLOY.glob(pattern)
    if path.name != "kustomization.yaml"
)


def written(report: Path, *options: str) -> str:
    """What the command prints as a file."""
    app = Typer()
    app.command()(main)
    done = CliRunner().invoke(app, [str(report), *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def options_of(text: str) -> list[str]:
    """The options in the comment of a file."""
    words = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#")).split()
    begin, end = words.index("REPORT") + 1, words.index("--min-replicas") + 2
    return words[begin:end]


def shape(value: object) -> object:
    """A manifest but for its numbers."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    text = str(value)
    return "number" if text.removesuffix("m").replace(".", "", 1).isdigit() else text


def test_every_variant_has_one_file_of_each_kind() -> None:
    """HPA and ScaledObject of a variant name its Deployment, its label, and one worker at least."""
    variants = sorted(path.parent.name for path in VARIANTS.glob("*/kustomization.yaml"))
    assert variants == ["eca", "plain", "se", "sk"]
    for variant in variants:
        hpa = yaml.safe_load((VARIANTS / variant / "hpa" / "worker-hpa.yaml").read_text())
        keda = yaml.safe_load((VARIANTS / variant / "keda" / "worker-scaledobject.yaml").read_text())
        for scaler in (hpa, keda):
            assert scaler["spec"]["scaleTargetRef"]["name"] == f"worker-{variant}"
            assert scaler["metadata"]["labels"]["attnserve.dev/variant"] == variant
        assert hpa["spec"]["minReplicas"] == keda["spec"]["minReplicaCount"] == 1
        assert (
            hpa["spec"]["behavior"] == keda["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_is_what_the_command_in_its_comment_prints(path: Path) -> None:
    """From the assumed worker, to the byte: no number was written by hand."""
    text = path.read_text()
    assert written(ASSUMED, *options_of(text)) == text


@pytest.mark.slow
def test_the_report_of_another_worker_changes_nothing_but_numbers(tmp_path: Path) -> None:
    """Whoever replaces a file by what was measured gets the same objects with other targets."""
    document = json.loads(ASSUMED.read_text())
    for name in ("service", "halved"):
        document["capacity"]["fitted"][name]["alpha_ms"] = 3.0
    document["capacity"]["fitted"]["left_out"][0]["alpha_ms"] = 3.0
    report = tmp_path / "report.json"
    report.write_text(json.dumps(document))
    for kind, name in (("hpa", "worker-hpa.yaml"), ("keda", "worker-scaledobject.yaml")):
        committed = yaml.safe_load((VARIANTS / "se" / kind / name).read_text())
        other = yaml.safe_load(written(report, "--manifest", kind, "--variant", "se", "--model", "digits_se"))
        assert other != committed
        assert shape(other) == shape(committed)


def test_the_assumed_worker_is_the_one_that_its_note_describes() -> None:
    """10 ms and 5 ms an image: the targets stand for that worker, and keep its promise of 200 ms."""
    report = json.loads(ASSUMED.read_text())
    assert "10 ms for a batch and 5 ms for each of its at most 16 images" in report["note"]
    fitted: dict[str, Any] = report["capacity"]["fitted"]
    service, batching = Service.of_json(fitted["service"]), Batching(**fitted["batching"])
    assert (service.alpha_ms, service.beta_ms, batching.max_batch) == (10, 5, 16)
    assert fitted["halved"] == fitted["left_out"][0] == fitted["service"]
    hpa = yaml.safe_load((VARIANTS / "se" / "hpa" / "worker-hpa.yaml").read_text())
    concurrency, queue = (
        float(next(iter(target.values())).removesuffix("m")) / 1e3
        for target in (
            {key: value for key, value in metric["external"]["target"].items() if key != "type"}
            for metric in hpa["spec"]["metrics"]
        )
    )
    at_target = simulate(service, batching, 85.86)  # as `python -m loadtests.capacity` says of it
    assert concurrency == pytest.approx(at_target.concurrency, rel=0.01)
    assert at_target.percentile(0.99) < report["capacity"]["p99_ms"]
    # The guard does not trip where the target is kept.
    assert at_target.queue_ms.mean() / 1e3 < 0.9 * queue


def test_production_scales_on_the_nets_that_it_serves() -> None:
    """Each HPA there asks for the models of its own engine, and keeps two workers."""
    production = DEPLOY / "overlays" / "production-gpu"
    engines = yaml.safe_load((production / "engines.yaml").read_text())
    served = {engine["address"].split("/")[3].partition(":")[0]: engine["models"] for engine in engines}
    files = [path for path in (production / "hpa").glob("*.yaml") if path.name != "kustomization.yaml"]
    assert len(files) == len(served)
    for path in files:
        hpa = yaml.safe_load(path.read_text())
        (model,) = served[hpa["metadata"]["name"]]
        for metric in hpa["spec"]["metrics"]:
            assert metric["external"]["metric"]["selector"] == {"matchLabels": {"model": model}}
        assert hpa["spec"]["minReplicas"] == 2
