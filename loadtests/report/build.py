"""From a run to its report; the same run always gives the same report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from loadtests.exchanges import Exchanges
from loadtests.outcome import GeneratorCost, Run
from loadtests.report import against
from loadtests.report.against import Baseline, Present
from loadtests.report.arms import arms
from loadtests.report.document import Failure, Generator, Report
from loadtests.report.findings import Facts, headline, warnings
from loadtests.report.gateway import changes, gateway_points
from loadtests.report.knee import knee
from loadtests.report.phases import load_spans
from loadtests.report.rows import Group, groups, rows
from loadtests.report.steps import steps
from loadtests.report.timeline import Bins, timeline
from loadtests.report.windows import Bootstrap, Windows

_MOST_FAILURES: Final = 50


def report(
    run: Run,
    baselines: Sequence[Baseline] = (),
    *,
    capacity: Mapping[str, Any] | None = None,
    experiment: Mapping[str, Any] | None = None,
    tolerance: float = against.TOLERANCE,
) -> Report:
    """Compute everything.

    Args:
        run: That has ended.
        baselines: Earlier runs to compare with.
        capacity: Answer of the capacity model, as JSON.
        experiment: The gateway's own report of an experiment, as JSON.
        tolerance: Share by which percentiles and throughput may differ from a baseline's and be the same.

    Raises:
        loadtests.report.against.BaselineError: A baseline did something else.
    """
    spans = load_spans(run)
    found, bins = tuple(groups(run.exchanges)), Bins.of(spans)
    alone = _facts(run, found, Bootstrap.of(Windows.of(spans)), experiment)
    facts = _beside(alone, tuple(baselines), tolerance)
    return Report(
        scenario=run.scenario,
        summary=run.summary,
        loop=run.loop,
        options=run.options,
        target=run.target,
        began=run.began,
        seconds=run.ended - run.began,
        stopped=run.stopped,
        slo=MappingProxyType({"p99_ms": run.slo.p99_ms, "failures": run.slo.failures}),
        headline=headline(facts),
        warnings=warnings(facts),
        rows=facts.rows,
        timeline=timeline(found, bins, run.began),
        steps=facts.steps,
        knee=facts.knee,
        gateway=gateway_points(changes(run.snapshots), bins, run.began),
        comparisons=facts.comparisons,
        arms=facts.arms,
        failures=_failures(run.exchanges),
        refused=_refused(run.exchanges),
        differences=run.differences,
        receipts=run.receipts,
        generators=tuple(map(_generator, run.generators)),
        machine=run.machine,
        capacity=capacity,
        experiment=experiment,
    )


def _facts(
    run: Run, found: Sequence[Group], bootstrap: Bootstrap, experiment: Mapping[str, Any] | None
) -> Facts:
    stepped = steps(run)
    return Facts(
        run=run,
        bootstrap=bootstrap,
        rows=rows(found, bootstrap),
        steps=stepped,
        knee=knee(stepped, run.loop),
        arms=arms(found, bootstrap, experiment),
    )


def _beside(facts: Facts, baselines: tuple[Baseline, ...], tolerance: float) -> Facts:
    run = facts.run
    present = Present(scenario=run.scenario, loop=run.loop, rows=facts.rows, steps=facts.steps)
    return replace(facts, baselines=baselines, comparisons=against.compare(present, baselines, tolerance))


def _failures(exchanges: Exchanges) -> tuple[Failure, ...]:
    """By what went wrong, the most frequent first; what is rare is counted together at the end."""
    failed = exchanges.where(exchanges.failed)
    columns = (failed.way.tolist(), failed.kind.tolist(), failed.fault.tolist())
    counts = Counter(zip(*columns, strict=True))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [Failure(way=way, kind=kind, fault=text, count=n) for (way, kind, text), n in ordered]
    if len(shown) <= _MOST_FAILURES:
        return tuple(shown)
    rest = shown[_MOST_FAILURES:]
    other = Failure(way="", kind="", fault=f"{len(rest)} other faults", count=sum(one.count for one in rest))
    return (*shown[:_MOST_FAILURES], other)


def _refused(exchanges: Exchanges) -> Mapping[str, int]:
    """Refusals that were right, by what was asked."""
    refused = ~exchanges.failed & np.asarray(exchanges.outcome != "ok", np.bool_)
    return MappingProxyType(dict(sorted(Counter(exchanges.kind[refused].tolist()).items())))


def _generator(cost: GeneratorCost) -> Generator:
    return Generator(
        name=cost.name,
        requests=cost.requests,
        cpu_ms_per_request=1e3 * cost.cpu_s / cost.requests if cost.requests else None,
        cores=cost.cores,
        busiest=cost.busiest,
    )
