"""`attnserve doctor`: every unsafe or broken setting by name, why it matters, and what to do.

One table of checks; each looks at one thing and says nothing where all is well. Nothing is started or
changed, and torch is not imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from serve.config import ConfigError, read_config, tokens_in_force
from serve.doctoring import doors, engines, experiments, files, machine, models, timing
from serve.doctoring.finding import Finding, Patient, Severity, error
from serve.sections import TokenConfig
from serve.settings import Config

STYLES: Mapping[Severity, str] = {
    Severity.OK: "green",
    Severity.INFO: "cyan",
    Severity.WARNING: "yellow",
    Severity.ERROR: "bold red",
}
COUNTED: Mapping[Severity, str] = {
    Severity.ERROR: "errors",
    Severity.WARNING: "warnings",
    Severity.INFO: "to know",
    Severity.OK: "well",
}
_RANK = {severity: rank for rank, severity in enumerate(Severity)}
FAILED = 1


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at.

    Attributes:
        name: Shown with every finding.
        well: What is so when nothing is found.
        look: Gives what is found.
    """

    name: str
    well: str
    look: Callable[[Patient], Iterator[Finding]]


CHECKS = (
    Check("reach", "nobody beyond this machine reaches the ports", doors.reach),
    Check("tokens", "tokens are in place, and none is easily guessed", doors.tokens),
    Check("expiry", "no token expires soon", doors.expiry),
    Check("files", "only their owner changes who gets in", doors.files),
    Check("certificates", "no TLS, or a certificate that is valid, for long enough, with a private key",
          doors.certificates),
    Check("model store", "only its owner changes it", models.model_store),
    Check("archives", "every archive is the listed one and can be opened", models.archives),
    Check("run_dir", "it can be written, and only by its owner", files.run_dir),
    Check("audit", "the audit file can be written, and only its owner reads it", files.audit_file),
    Check("experiments' store", "it answers, or is a file of this gateway alone", experiments.store),
    Check("experiments' keys", "only their owner reads them", experiments.keys),
    Check("room", "the disks have room", files.room),
    Check("engines", "all that are listed are there", engines.reachable),
    Check("spare engines", "no listed model hangs on one engine", engines.spare),
    Check("way to engines", "what goes to engines stays on this machine", engines.plain),
    Check("java", "there is one for TorchServe, or none is needed", machine.java),
    Check("versions", "what is installed is what was tested, and has no known holes", machine.versions),
    Check("gpu", "there is one, or none is required", machine.gpu),
    Check("ports", "they are free", machine.ports),
    Check("open files", "as many as connections need", machine.open_files),
    Check("user", "not root", machine.root),
    Check("core dumps", "none", machine.core_dumps),
    Check("attempts", "a hung engine leaves time for another", timing.attempts),
    Check("worker timeouts", "TorchServe ends a hung worker first", models.response_timeouts),
    Check("drain", "a batch that runs may end", timing.drain),
    Check("sizes", "the largest request fits", timing.sizes),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """What a check found, or that it found nothing."""

    check: str
    finding: Finding


def examine(path: Path | None, environ: Mapping[str, str], checks: Sequence[Check] = CHECKS) -> list[Told]:
    """Run every check; where the configuration cannot be read, that is all there is to tell.

    Args:
        path: The configuration; None: defaults and variables only.
        environ: The process's variables.
        checks: What to look at.
    """
    try:
        config = read_config(path, environ)
        patient = Patient(config, environ, path=path, tokens=_tokens(config))
    except ConfigError as problem:
        return [Told("configuration", _broken(line)) for line in str(problem).splitlines()]
    found = [Told("configuration", _fine(f"{path or 'the default configuration'} is valid"))]
    for check in checks:
        findings = _looked(check, patient) or [_fine(check.well)]
        found += [Told(check.name, finding) for finding in findings]
    return found


def _looked(check: Check, patient: Patient) -> list[Finding]:
    try:
        return list(check.look(patient))
    except OSError as problem:  # such as a folder that this user may not enter
        return [
            error(
                f"{problem.filename or 'something'} cannot be looked at: {problem.strerror}",
                "The gateway, run by the same user, will not reach it either.",
                "Mend its permissions and those of the folders above it, or run this as the gateway's user.",
            )
        ]


def exit_code(told: Sequence[Told], *, strict: bool) -> int:
    """1 when something is wrong: an error, or with `strict` a warning; else 0."""
    bad = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    return FAILED if any(one.finding.severity in bad for one in told) else 0


def as_documents(told: Sequence[Told]) -> list[dict[str, str]]:
    """For machines: an object for each, worst first."""
    worst_first = sorted(told, key=lambda one: -_RANK[one.finding.severity])
    return [{"check": one.check, **asdict(one.finding)} for one in worst_first]


def show(console: Console, told: Sequence[Told]) -> None:
    """For people: what is well in a line each, then what is not, and worst at the end, where one looks."""
    for one in sorted(told, key=lambda one: _RANK[one.finding.severity]):
        finding = one.finding
        line = Text.assemble(
            (f"{finding.severity:<8}", STYLES[finding.severity]), (f"{one.check}: ", "bold"), finding.what
        )
        console.print(line, soft_wrap=True)
        for text in (finding.why, finding.do and f"To do: {finding.do}"):
            if text:
                console.print(Text(f"        {text}", style="dim"), soft_wrap=True)
    counts = Counter(one.finding.severity for one in told)
    console.print("\n" + ", ".join(f"{word}: {counts[severity]}" for severity, word in COUNTED.items()))


def _tokens(config: Config) -> tuple[TokenConfig, ...]:
    if config.tokens_file is None:
        return config.tokens
    return tokens_in_force(config, config.tokens_file.read_bytes())


def _fine(what: str) -> Finding:
    return Finding(severity=Severity.OK, what=what)


def _broken(line: str) -> Finding:
    return error(line, "The gateway does not start.", "Mend it; nothing else has been looked at.")
