"""Where load goes: a gateway that is there, or one that is started for it, and whom to ask there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.running.plans import split
from loadtests.running.preflight import PreflightError, check_target, is_given, target_of
from loadtests.running.scenarios import Scenario
from loadtests.running.wish import Wish
from loadtests.stack import Target, running_stack
from loadtests.tally import Counts
from loadtests.traffic.corpus import read_corpus
from loadtests.traffic.subjects import read_subjects

MODELS: Final = ("digits_plain", "digits_se", "digits_eca", "digits_sk")
STORE: Final = Path("model_store/archives")
SAMPLES: Final = Path("run/samples")
_OK: Final = "ok"
_ANY: Final = "whichever model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Whom to ask what.

    Attributes:
        target: The gateway.
        asked: Names that are asked: of models, aliases or experiments.
        models: Names of the models that may answer.
        samples: Folder of images.
        max_batch: Most images that the gateway gives at once to the first that is asked.
    """

    target: Target
    asked: tuple[str, ...]
    models: tuple[str, ...]
    samples: Path
    max_batch: int

    def comparable(self, counts: Counts) -> Counts:
        """Counts by what both sides can know.

        Who asks an alias or an experiment and is refused is not told which model it would have been.
        """
        if set(self.asked) <= set(self.models):
            return counts
        found: Counts = Counter()
        for kind, count in counts.items():
            found[kind if kind.outcome == _OK else kind._replace(model=_ANY)] += count
        return found


@contextmanager
def opened(wish: Wish, scenario: Scenario, say: Callable[[str], None]) -> Iterator[Site]:
    """Find the gateway that was named, or start one, and make sure that it can be asked.

    Raises:
        PreflightError: The target may not be loaded, or lacks something.
        CorpusError: There are no samples.
        SubjectError: What is to be asked says too little of itself.
        StackError: A gateway of our own did not start.
        subprocess.CalledProcessError: The demo could not be built.
    """
    given = target_of(wish)
    samples = wish.samples or SAMPLES
    if is_given(wish) or given.is_gateway():
        say(f"using the gateway at {given.http}")
        if wish.samples is None and not samples.is_dir():
            ensure_demo(samples)
        read_corpus(samples)
        yield _site(given, wish, scenario, samples)
        return
    _check_own(wish)
    say(f"no gateway at {given.http}: starting one")
    ensure_demo(SAMPLES)
    read_corpus(samples)
    with tempfile.TemporaryDirectory(prefix="attnserve-loadtest-") as folder:
        settings = {"ATTNSERVE_MODEL_STORE": str(STORE), "ATTNSERVE_MODELS": json.dumps(MODELS)}
        with running_stack(Path(folder), settings) as stack:
            yield _site(stack.target, wish, scenario, samples)


def ensure_demo(samples: Path) -> None:
    """Build the demo's archives and samples, if any of them is not there."""
    if not samples.is_dir() or not all((STORE / f"{model}.mar").exists() for model in MODELS):
        program = str(Path(sys.executable).with_name("attnserve"))
        subprocess.run([program, "build", "--demo", "--samples", str(samples)], check=True)  # noqa: S603  our own


def _check_own(wish: Wish) -> None:
    """Refuse, before one is started, what a gateway of our own cannot have."""
    for name in split(wish.models):
        if name not in MODELS:
            raise PreflightError(
                f"--models: {name!r} is not loaded: no gateway answers, and one of our own has"
                f" {', '.join(MODELS)}; name the gateway that has it by --host, --grpc and --metrics"
            )


def _site(target: Target, wish: Wish, scenario: Scenario, samples: Path) -> Site:
    asked = check_target(target, wish.token).choose(split(wish.models))
    asked = asked[:1] if scenario.one_model else asked
    subjects = read_subjects(target.http, asked, wish.token)
    models = tuple(dict.fromkeys(name for subject in subjects for name in subject.served_by))
    return Site(target=target, asked=asked, models=models, samples=samples, max_batch=subjects[0].max_batch)
