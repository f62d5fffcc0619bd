"""What is said of a fitted queue: its knee, replicas, the autoscaler's target, and the same from a file."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from typer import Typer
from typer.testing import CliRunner

from loadtests.capacity.__main__ import main
from loadtests.capacity.answer import again, answered
from loadtests.capacity.fitted import Compared, Fitted
from loadtests.capacity.queue import simulate
from loadtests.capacity.service import Batching, CapacityError, Service

SERVICE = Service(alpha_ms=6.0, beta_ms=2.0, spread=0.3, held_ms=3.0, transport_ms=2.0)
PROMISE_MS = 100.0
TARGET = 1000.0
# Schemas of custom resources are no part of a clone; where somebody has them, they are asked, too.
SCHEMAS = Path(__file__).parents[2].parent / "shared" / "schemas"


def compared(rate: float, *, kept: bool) -> Compared:
    """A step that was predicted exactly, but for a p99 that is off by a tenth."""
    found = simulate(SERVICE, Batching(), rate, requests=4000)
    own = {"p50": found.percentile(0.5), "p99": found.percentile(0.99)}
    off = {"p50": own["p50"], "p99": 1.1 * own["p99"]}
    return Compared(
        name=f"{rate:g} a second", rate=rate, steady=True, kept=kept, measured=own, predicted=own,
        held_out={}, left_out=off, mean_batch=found.mean_batch, predicted_batch=found.mean_batch,
    )  # fmt: skip


@cache
def fitted() -> Fitted:
    """A queue that carries about 300 a second."""
    return Fitted(
        model="digits_se", promised_ms=PROMISE_MS, batching=Batching(), service=SERVICE, halved=SERVICE,
        left_out=(SERVICE,), saturation=None, line_worst=0.01,
        steps=(compared(100, kept=True), compared(280, kept=True), compared(400, kept=False)),
    )  # fmt: skip


@cache
def document() -> Mapping[str, Any]:
    """The answer for a target."""
    return answered(fitted(), p99_ms=PROMISE_MS, target_rate=TARGET)


def test_the_knee_is_the_largest_rate_that_keeps_the_promise() -> None:
    """A little below it 99 % are answered in time, a little above they are not."""
    rate = document()["knee"]["predicted"]
    assert simulate(SERVICE, Batching(), 0.98 * rate).percentile(0.99) <= PROMISE_MS
    assert simulate(SERVICE, Batching(), 1.02 * rate).percentile(0.99) > PROMISE_MS
    assert 280 < rate < 400
    assert document()["knee"]["error"] == 0


@pytest.mark.parametrize(
    ("kept", "error"), [((False, False, False), 2.1), ((True, True, False), 0.0), ((True, True, True), None)]
)
def test_the_error_of_the_knee_is_how_far_it_is_outside_of_what_was_measured(
    kept: tuple[bool, ...], error: float | None
) -> None:
    """Between the last step that was carried and the first that was not it is 0; nothing broke: not known."""
    steps = tuple(replace(step, kept=own) for step, own in zip(fitted().steps, kept, strict=True))
    found = answered(
        replace(fitted(), steps=steps[: 3 if error is not None else 2]), p99_ms=100, target_rate=None
    )
    assert found["knee"]["error"] == (error if error is None else pytest.approx(error, abs=0.2))


def test_replicas_share_the_rate() -> None:
    """So many carry their shares, one less does not; the table has 1, 2, 5 and 10 times the measured knee."""
    knee, (target, *multiples) = document()["knee"], document()["replicas"]
    assert target["what"] == "target"
    assert TARGET / target["replicas"] <= knee["predicted"] < TARGET / (target["replicas"] - 1)
    assert target["p99_ms"] <= PROMISE_MS
    assert target["cautious"] >= target["replicas"]
    assert [(row["what"], row["rate"]) for row in multiples] == [
        ("1 x", 280), ("2 x", 560), ("5 x", 1400), ("10 x", 2800),
    ]  # fmt: skip


def test_a_step_that_broke_by_accident_is_not_the_measured_knee() -> None:
    """One that breaks between two that are carried: the report's own knee passes over it, too."""
    model = fitted()
    steps = [replace(step, kept=place != 1) for place, step in enumerate(model.steps)]
    found = answered(replace(model, steps=tuple(steps)), p99_ms=PROMISE_MS, target_rate=TARGET)
    assert found["knee"]["carried"] == model.steps[-1].rate
    assert found["knee"]["broken"] is None


def test_the_target_is_what_the_knee_leaves_room_for() -> None:
    """The concurrency is that of the queue at seven tenths of the knee, by Little's law."""
    scaling = document()["autoscaling"]
    assert scaling["rate"] == pytest.approx(0.7 * document()["knee"]["carried"])  # the lowest of all
    found = simulate(SERVICE, Batching(), scaling["rate"])
    expected = scaling["rate"] * (found.response_ms.mean() - SERVICE.transport_ms) / 1e3
    assert scaling["concurrency"] == pytest.approx(expected, rel=0.02)


def test_the_target_is_that_of_a_single_worker() -> None:
    """Where several were measured together each has its part, and so many more are needed."""
    several = replace(fitted(), batching=Batching(workers=2))
    found = answered(several, p99_ms=PROMISE_MS, target_rate=TARGET)
    scaling, rate = found["autoscaling"], 0.7 * found["knee"]["cautious"] / 0.9
    assert scaling["rate"] == pytest.approx(rate / 2)
    assert scaling["concurrency"] == pytest.approx(simulate(SERVICE, several.batching, rate).concurrency / 2)
    keda = yaml.safe_load(scaling["keda"])
    assert keda["spec"]["fallback"]["replicas"] == 2 * found["replicas"][0]["cautious"]


def test_the_guard_is_the_queue_at_the_knee() -> None:
    """The mean seconds in the queue where the promise just holds, no less than an adapter can tell apart."""
    at_knee = simulate(SERVICE, Batching(), document()["autoscaling"]["rate"] / 0.7)
    assert document()["autoscaling"]["queue_s"] == pytest.approx(at_knee.queue_ms.mean() / 1e3)
    many = replace(fitted(), batching=Batching(workers=2))
    found = answered(many, p99_ms=PROMISE_MS, target_rate=None)["autoscaling"]
    short = simulate(SERVICE, many.batching, 2 * found["rate"] / 0.7).queue_ms.mean() / 1e3
    assert short < found["queue_s"] == 0.005


def test_the_autoscaler_of_kubernetes_takes_its_manifest() -> None:
    """The HPA is one for strict schemas of the oldest and the newest version, and has the same target."""
    manifest = yaml.safe_load(document()["autoscaling"]["hpa"])
    for version in ("1.32", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(manifest, version, strict=True)
    concurrency, queue = (metric["external"]["target"] for metric in manifest["spec"]["metrics"])
    scaling = document()["autoscaling"]
    assert concurrency == {"type": "AverageValue", "averageValue": f"{1e3 * scaling['concurrency']:.0f}m"}
    assert queue == {"type": "Value", "value": f"{1e3 * scaling['queue_s']:.0f}m"}
    assert manifest["spec"]["minReplicas"] == 1


def test_keda_takes_its_manifest() -> None:
    """A series that is absent is an error there and not 0; never to none; targets as in the HPA."""
    scaling = document()["autoscaling"]
    manifest = yaml.safe_load(scaling["keda"])
    concurrency, queue = manifest["spec"]["triggers"]
    for trigger, kind, target in (
        (concurrency, "AverageValue", scaling["concurrency"]),
        (queue, "Value", scaling["queue_s"]),
    ):
        assert trigger["metricType"] == kind
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert float(trigger["metadata"]["threshold"]) == pytest.approx(target, abs=0.001)
    assert manifest["spec"]["minReplicaCount"] == 1
    schema = SCHEMAS / "scaledobject_keda.sh_v1alpha1.json"
    if schema.exists():
        Draft202012Validator(json.loads(schema.read_text())).validate(manifest)


def test_the_query_is_of_a_metric_that_the_gateway_has() -> None:
    """Its name and label are those of `serve.metrics`."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415  only here

    from serve.metrics import Metrics  # noqa: PLC0415  only here

    metrics = Metrics(CollectorRegistry())
    metrics.predict_seconds.labels("digits_se").inc(2.0)
    name, labels = "attnserve_predict_seconds_total", {"model": "digits_se"}
    assert metrics.registry.get_sample_value(name, labels) == 2
    assert f'{name}{{model="digits_se"}}' in document()["autoscaling"]["query"]


def test_errors_are_those_of_the_steps() -> None:
    """A p99 predicted a tenth too high by the fits without each step is off by a tenth."""
    found = document()["errors"]["left_out"]
    assert found["p99"] == {"median": pytest.approx(0.1), "worst": pytest.approx(0.1), "steps": 3}
    assert found["p50"]["worst"] == 0
    assert document()["errors"]["held_out"] == {}
    assert document()["doubts"] == []


def test_errors_that_are_too_large_are_doubts() -> None:
    """Predictions that are off by a half are said first, and that nobody should plan with them."""
    steps = tuple(
        replace(step, left_out={name: 1.5 * value for name, value in step.measured.items()})
        for step in fitted().steps
    )
    found = answered(replace(fitted(), steps=steps, saturation=300.0), p99_ms=PROMISE_MS, target_rate=None)
    assert "p50 by 50% (more than 15%)" in found["doubts"][0]
    assert "300 requests a second were answered, the model says 421" in found["doubts"][1]
    assert found["sentences"][0].startswith("The model does not fit well")


def test_the_sentences_say_it() -> None:
    """Knee, errors, limit, replicas and target are in words, with the figures of the document."""
    text = "\n".join(document()["sentences"])
    assert "280 were carried and 400 were not" in text
    assert "p99 by 10% (worst 10%)" in text
    assert "6 + 2 b ms. The limit is the workers" in text
    assert (
        f"{document()['replicas'][0]['replicas']} ({document()['replicas'][0]['cautious']}) for 1,000" in text
    )
    assert document()["autoscaling"]["query"] in text


def test_a_front_that_gives_out_first_is_the_limit() -> None:
    """With 5 ms for each request before the workers there are at most 200, whatever the workers can do."""
    slow = replace(fitted(), service=replace(SERVICE, front_ms=5.0))
    found = answered(slow, p99_ms=PROMISE_MS, target_rate=None)
    assert found["limit"] == "gateway"
    assert found["saturation"]["predicted"] == 200
    assert found["knee"]["predicted"] < 200


def test_a_promise_that_nothing_keeps_has_no_replicas_and_no_target() -> None:
    """Within less than a batch takes nothing is answered, by however many."""
    found = answered(fitted(), p99_ms=5.0, target_rate=TARGET)
    assert found["knee"]["predicted"] is None
    assert found["replicas"] == []
    assert found["autoscaling"] is None
    assert "no rate is predicted" in found["sentences"][0]


def test_an_answer_that_was_kept_answers_again() -> None:
    """From its JSON comes the same answer, and others for another promise and another target."""
    kept = json.loads(json.dumps(document()))
    assert again(kept) == document()
    other = again(kept, p99_ms=60.0, target_rate=50.0)
    assert other["knee"]["predicted"] < document()["knee"]["predicted"]
    assert other["knee"]["carried"] == 100
    assert other["replicas"][0]["replicas"] == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 2}, "format is 2, must be 1"),
        ({"fitted": {}}, "fitted is not what this version writes"),
        ({"p99_ms": -1}, "p99_ms is -1, must be above 0"),
    ],
)
def test_an_answer_of_another_make_is_refused(values: Mapping[str, Any], message: str) -> None:
    """What cannot be read is told by its name."""
    with pytest.raises(CapacityError, match=message):
        again({**document(), **values})


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    app = Typer()
    app.command()(main)
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_the_command_answers_from_a_folder(tmp_path: Path) -> None:
    """It prints the sentences for another target, or one of the manifests alone."""
    (tmp_path / "report.json").write_text(json.dumps({"capacity": document()}))
    code, output = command(str(tmp_path), "--target-rate", "5000")
    assert (code, "for 5,000 a second" in output) == (0, True)
    code, output = command(str(tmp_path / "report.json"), "--manifest", "keda")
    assert (code, yaml.safe_load(output)["kind"]) == (0, "ScaledObject")


def test_the_command_prints_the_file_of_a_variant(tmp_path: Path) -> None:
    """Its name, its models, and its fewest replicas are those asked for; several models are one sum."""
    (tmp_path / "report.json").write_text(json.dumps({"capacity": document()}))
    asked = ("--variant", "se", "--model", "a", "--model", "b", "--min-replicas", "3")
    _, output = command(str(tmp_path), "--manifest", "hpa", *asked)
    found = yaml.safe_load(output)
    assert found["metadata"]["name"] == found["spec"]["scaleTargetRef"]["name"] == "worker-se"
    assert found["spec"]["minReplicas"] == 3
    for metric in found["spec"]["metrics"]:
        assert metric["external"]["metric"]["selector"] == {
            "matchExpressions": [{"key": "model", "operator": "In", "values": ["a", "b"]}]
        }
    _, output = command(str(tmp_path), "--manifest", "keda", *asked)
    found = yaml.safe_load(output)
    assert found["spec"]["scaleTargetRef"] == {"name": "worker-se"}
    needed = document()["replicas"][0]["cautious"]
    assert (found["spec"]["minReplicaCount"], found["spec"]["fallback"]["replicas"]) == (3, needed)
    assert all('model=~"a|b"' in trigger["metadata"]["query"] for trigger in found["spec"]["triggers"])


def test_a_file_says_which_command_wrote_it(tmp_path: Path) -> None:
    """The comment's options, given again, print the same file."""
    (tmp_path / "report.json").write_text(json.dumps({"capacity": document()}))
    _, output = command(str(tmp_path), "--manifest", "keda", "--variant", "se", "--min-replicas", "2")
    comment = " ".join(line.lstrip("# ") for line in output.splitlines() if line.startswith("#"))
    options = comment[comment.index("REPORT ") :].split()[1:]
    assert command(str(tmp_path), *options) == (0, output)


def test_a_manifest_of_a_model_that_does_not_fit_is_not_given_without_a_word(tmp_path: Path) -> None:
    """The doubts go to standard error, so that what is applied stays a manifest."""
    doubtful = answered(replace(fitted(), line_worst=0.5), p99_ms=PROMISE_MS, target_rate=None)
    (tmp_path / "report.json").write_text(json.dumps({"capacity": doubtful}))
    app = Typer()
    app.command()(main)
    done = CliRunner().invoke(app, [str(tmp_path), "--manifest", "hpa"])
    assert yaml.safe_load(done.stdout)["kind"] == "HorizontalPodAutoscaler"
    assert "do not plan with it: The time of a batch is no straight line" in done.stderr
    assert "# Do not plan with it: The time of a batch is no straight line" in done.stdout


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("no JSON", (), "is no report"),
        ("{}", (), "says nothing of the capacity"),
        ("answer", ("--manifest", "vpa"), "--manifest is 'vpa', must be hpa or keda"),
        ("answer", ("--target-rate", "0"), "target rate is 0.0, must be above 0"),
        ("answer", ("--min-replicas", "0"), "min replicas is 0, must be at least 1"),
    ],
)
def test_the_command_says_what_is_wrong(
    content: str, options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """Bad files and options end with 1 and a line."""
    text = json.dumps({"capacity": document()}) if content == "answer" else content
    (tmp_path / "report.json").write_text(text)
    code, output = command(str(tmp_path), *options)
    assert (code, message in output) == (1, True)


def test_a_report_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With its name."""
    code, output = command(str(tmp_path / "none.json"))
    assert (code, "none.json" in output) == (1, True)
