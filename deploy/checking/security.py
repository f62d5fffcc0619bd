"""Security: what checkov says of the built objects and of the Dockerfiles.

A finding that is meant is skipped beside its resource, with the reason: an annotation `checkov.io/skipN:
ID=reason` on an object, a comment `# checkov:skip=ID:reason` in a Dockerfile.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from deploy.checking import paths
from deploy.checking.kustomize import Build, Manifest, different, different_objects
from deploy.checking.outcome import Outcome, counted, without_program

HOW_TO_INSTALL = "`make deploy-check` does, into an environment of its own"


def program() -> Path:
    """checkov, in an environment of its own: it wants versions of packages that others here do not."""
    return paths.TOOLS.parent / "checkov" / "bin" / "checkov"


def check(builds: Sequence[Build]) -> Outcome:
    """Checkov has nothing to say about any object that can be applied, nor about any Dockerfile."""
    if not program().is_file():
        return without_program("checkov", HOW_TO_INSTALL)
    whole = [build for build in builds if build.target.whole]
    with tempfile.TemporaryDirectory(prefix="attnserve-deploy-") as folder:
        write(Path(folder), whole, paths.dockerfiles())
        outcome = run(Path(folder))
    return replace(outcome, problems=[*outcome.problems, *unjustified(different_objects(whole))])


def unjustified(manifests: Iterable[Manifest]) -> list[str]:
    """Findings that are skipped without a reason."""
    return [
        f"{manifest['kind']}/{manifest['metadata']['name']}: {key} has no reason: write {value}=REASON"
        for manifest in manifests
        for key, value in manifest["metadata"].get("annotations", {}).items()
        if key.startswith("checkov.io/skip") and not value.partition("=")[2].strip()
    ]


def write(folder: Path, builds: Sequence[Build], dockerfiles: Sequence[Path]) -> None:
    """Write what checkov reads: a file a build, in which is what no file before has, and the Dockerfiles."""
    for build, manifests in different(builds):
        name = build.target.name.replace("/", "-").replace(" ", "-")
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
    for path in dockerfiles:
        (folder / path.name).write_bytes(path.read_bytes())


def run(folder: Path) -> Outcome:
    """Run checkov once over a folder of objects and Dockerfiles."""
    done = subprocess.run(  # noqa: S603 - our own program and folder
        [
            *(str(program()), "--directory", str(folder), "--framework", "kubernetes", "dockerfile"),
            # Without the first it asks the network; without the last it prints all that passed.
            *("--skip-download", "--output", "json", "--compact", "--quiet"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        reports = json.loads(done.stdout)
    except json.JSONDecodeError:
        return Outcome(problems=[f"checkov broke off: {done.stderr.strip()[-1000:]}"])
    return _outcome(reports if isinstance(reports, list) else [reports])


def _outcome(reports: Sequence[Mapping[str, Any]]) -> Outcome:
    counts = {
        name: sum(report["summary"][name] for report in reports if "summary" in report) for name in _COUNTS
    }
    findings = [
        finding for report in reports for finding in report.get("results", {}).get("failed_checks", ())
    ]
    problems = list(dict.fromkeys(map(_sentence, findings)))
    if not counts["resource_count"]:
        problems.append("checkov found nothing to look at, which cannot be right")
    if counts["parsing_errors"]:
        problems.append(f"checkov could not read {counted(counts['parsing_errors'], 'file')}")
    looked_at = (
        f"{counted(counts['resource_count'], 'object')}, {counts['passed'] + counts['failed']} checks, "
        f"{counted(counts['skipped'], 'justified skip')}"
    )
    return Outcome(looked_at=looked_at, problems=problems)


_COUNTS = ("passed", "failed", "skipped", "resource_count", "parsing_errors")


def _sentence(finding: Mapping[str, Any]) -> str:
    return f"{finding['resource'].strip('/.')}: {finding['check_id']}, {finding['check_name']}"
