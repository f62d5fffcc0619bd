"""What vectors/assignment.json holds; `python -m tests.contract.assignment_vectors` writes it anew.

With ``--answer`` it answers what it reads from standard input instead, as assignment_reference.py does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from serve.core.assignment import Assigner, allocate, reallocate
from serve.core.buckets import bucket
from serve.core.edits import patched
from serve.core.experiment import Experiment, Range
from tests.core.makings import STAMP, arms_of, running

FILE = Path(__file__).parent / "vectors" / "assignment.json"
ABOUT = (
    "bucket(salt, text) = (first 8 bytes, big-endian, of SHA-256 of the UTF-8 of this) * 10000 >> 64:",
    "the length of the salt in bytes of UTF-8, a colon, the salt, a vertical bar, the text.",
    "A running experiment asks of a unit, in this order, until there is an answer [arm, why]:",
    "holdout: bucket('/holdout', unit) is below holdout: arm 0, holdout.",
    "overrides: the unit is named there: that arm, override.",
    "slot: bucket(layer + '/slot', unit) is not from slots[0] to below slots[1]: arm 0, single.",
    "ramp: bucket(name + '/ramp', unit) is not below ramp: arm 0, single.",
    "arm: in split mode the owner of bucket(name + '/arm', unit), in shadow and paired mode 0: hash.",
    "The owner of a bucket is the arm of the range [start, stop, arm] of allocation with start <= it < stop.",
    "Of a request, by its prediction id, the answer is [first, mirrored]:",
    "first: in paired mode the owner of bucket(name + '/order', id) is called first, otherwise arm 0.",
    "mirrored: the other arms see it: bucket(name + '/sample', id) is below sample; in split mode never.",
)
UNITS = (
    "", " ", "a", "A", "user-1", "user-1 ", "0", "|", "5:salt|unit", "\x00", "line\nbreak",
    "jalape\u00f1o", "jalapen\u0303o",  # look alike; other bytes, so another unit
    "用户-42", "пользователь", "👩\u200d🔬", "\U0010ffff", "x" * 300, "ü" * 300,
    *(f"user-{number}" for number in range(2, 30)),
)  # fmt: skip
SALTS = ("", "/holdout", "digits/arm", "digits/ramp", "ünï/slot", "5:salt|")
REQUESTS = tuple(f"{number:032x}" for number in range(24))
REWEIGHTS = (
    ((5000, 5000), (9000, 1000), (5000, 5000), (0, 10000), (10000, 0)),
    ((3334, 3333, 3333), (5000, 2000, 3000), (1000, 2000, 7000), (3334, 3333, 3333)),
)


def experiments() -> tuple[Experiment, ...]:
    """At least one for every rule."""
    named = [{"unit": unit, "arm": "b", "reason": "a tester"} for unit in ("user-1", "用户-42", "user-29")]
    moved = {"arms": [{"name": "a", "weight": 9000}, {"name": "b", "weight": 1000}]}
    return (
        running("halves"),
        patched(running("moved"), moved, STAMP),
        running("three", arms=arms_of(3334, 3333, 3333), layer="page", slots=[2500, 7500]),
        running("early", ramp=500, holdout=1000),
        running("named", holdout=2500, overrides=named),
        running("shown", mode="shadow", arms=arms_of(None, None), sample=2500),
        running("both", mode="paired", arms=arms_of(7000, 3000), ramp=5000, sample=5000),
    )


def asked(experiments: Iterable[Experiment], units: Sequence[str], requests: Sequence[str]) -> dict[str, Any]:
    """What a program in another language needs to know."""
    return {
        "experiments": [_portable(experiment) for experiment in experiments],
        "units": units,
        "requests": requests,
    }


def answered(experiment: Experiment, units: Sequence[str], requests: Sequence[str]) -> dict[str, Any]:
    """What the gateway says."""
    assigner = Assigner(experiment)
    assigned = [assigner.assign(unit) for unit in units]
    return {
        "units": [[one.arm, one.why.value] for one in assigned],
        "requests": [[assigner.first(one), assigner.mirrored(one)] for one in requests],
    }


def text() -> str:
    """The file: a line an entry, so that a change can be read."""
    content = {
        "about": ABOUT,
        "buckets": [[salt, unit, bucket(salt, unit)] for salt in SALTS for unit in UNITS[:20]],
        "reallocations": [step for weights in REWEIGHTS for step in _reallocations(weights)],
        **asked(experiments(), UNITS, REQUESTS),
        "answers": [answered(experiment, UNITS, REQUESTS) for experiment in experiments()],
    }
    lists = (
        f"  {json.dumps(key)}: [\n" + ",\n".join(f"    {json.dumps(entry)}" for entry in entries) + "\n  ]"
        for key, entries in content.items()
    )
    return "{\n" + ",\n".join(lists) + "\n}\n"


def _portable(experiment: Experiment) -> dict[str, Any]:
    design = experiment.design
    arms = [arm.name for arm in design.arms]
    return {
        "name": design.name,
        "mode": design.mode.value,
        "layer": design.layer_name,
        "slots": design.slots,
        "ramp": design.ramp,
        "holdout": design.holdout,
        "sample": design.sample,
        "overrides": {override.unit: arms.index(override.arm) for override in design.overrides},
        "allocation": _plain(experiment.allocation),
    }


def _reallocations(steps: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    ranges = allocate(steps[0])
    for weights in steps[1:]:
        before, ranges = ranges, reallocate(ranges, weights)
        yield {"before": _plain(before), "weights": weights, "after": _plain(ranges)}


def _plain(ranges: Iterable[Range]) -> list[tuple[int, int, int]]:
    return [(piece.start, piece.stop, piece.arm) for piece in ranges]


if __name__ == "__main__":
    if sys.argv[1:] == ["--answer"]:
        given = json.load(sys.stdin)
        answers = [answered(one, given["units"], given["requests"]) for one in experiments()]
        sys.stdout.write(json.dumps(answers))
    else:
        FILE.write_text(text(), encoding="utf-8")
