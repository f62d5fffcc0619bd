"""Runs all checks, and prints what they find and a table of them: `python -m deploy.checking`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from deploy.checking import contract, dashboards, files, kustomize, prometheus, schemas, security
from deploy.checking.kustomize import Build
from deploy.checking.outcome import Outcome, Row, table


def checks(builds: Sequence[Build]) -> Mapping[str, Callable[[], Outcome]]:
    """Every check of what has been built, and of the files, by name."""
    return {
        "Kubernetes schemas": partial(_of_objects, schemas.check_kubernetes, builds),
        "custom resources": partial(
            _of_objects, partial(schemas.check_custom, folder=schemas.crd_schemas()), builds
        ),
        **{
            f"contract: {name}": partial(_of_objects, partial(contract.check, rules), builds)
            for name, rules in contract.RULES.items()
        },
        "checkov": partial(security.check, builds),
        "Prometheus rules": prometheus.check_rules,
        "tests of rules": prometheus.check_tests,
        "Prometheus configuration": prometheus.check_configuration,
        "dashboards' files": dashboards.check_drift,
        "dashboards' queries": dashboards.check_queries,
        "hadolint": files.check_dockerfiles,
        "yamllint": files.check_yaml,
    }


def main() -> int:
    """Run all checks; the exit code is 1 where one of them finds something to mend."""
    builds: list[Build] = []
    rows = [_run("kustomize", lambda: _build(builds))]
    rows.extend(_run(name, check) for name, check in checks(builds).items())
    for row in rows:
        for word, sentences in (("FAIL", row.outcome.problems), ("note", row.outcome.notes)):
            for sentence in sentences:
                _say(f"{word} {row.name}: {sentence}")
    _say(f"\n{table(rows)}")
    failed = [row.name for row in rows if row.outcome.problems]
    _say(f"\nfailed: {', '.join(failed)}" if failed else "\nall is right")
    return 1 if failed else 0


def _of_objects(check: Callable[[Sequence[Build]], Outcome], builds: Sequence[Build]) -> Outcome:
    """A check of what has been built, which cannot be right about nothing."""
    if not any(build.manifests for build in builds):
        return Outcome(skipped="nothing was built")
    return check(builds)


def _build(builds: list[Build]) -> Outcome:
    builds.extend(kustomize.make_all())
    return kustomize.check_builds(builds)


def _run(name: str, check: Callable[[], Outcome]) -> Row:
    started = time.monotonic()
    try:
        outcome = check()
    except Exception as error:  # noqa: BLE001 - one that stumbles must not hide what the others find
        said = f"{type(error).__name__}: {error}"
        outcome = Outcome(problems=[f"broke off with {said}: mend first what the schemas find"])
    return Row(name=name, outcome=outcome, seconds=time.monotonic() - started)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
