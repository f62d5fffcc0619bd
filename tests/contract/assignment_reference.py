"""Assignment once more, in plain Python: written from its description, without a line of the gateway's.

Reads ``{"experiments": [...], "units": [...], "requests": [...]}`` as JSON from standard input, as
vectors/assignment.json has them, and writes for each experiment ``{"units": [[arm, why]...], "requests":
[[first, mirrored]...]}``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any


def bucket(salt: str, text: str) -> int:
    """Place text in one of 10 000 buckets."""
    name = str(len(salt.encode("utf-8"))) + ":" + salt + "|" + text
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()
    return int(digest[:16], 16) * 10_000 // 2**64


def owner(experiment: dict[str, Any], place: int) -> int:
    """The arm whose range holds a bucket."""
    for start, stop, arm in experiment["allocation"]:
        if start <= place < stop:
            return int(arm)
    raise ValueError(f"bucket {place} has no owner")


def assign(experiment: dict[str, Any], unit: str) -> list[Any]:
    """Which arm a unit gets, and why, while the experiment runs."""
    name = experiment["name"]
    if bucket("/holdout", unit) < experiment["holdout"]:
        return [0, "holdout"]
    if unit in experiment["overrides"]:
        return [experiment["overrides"][unit], "override"]
    first, end = experiment["slots"]
    if not first <= bucket(experiment["layer"] + "/slot", unit) < end:
        return [0, "single"]
    if bucket(name + "/ramp", unit) >= experiment["ramp"]:
        return [0, "single"]
    return [owner(experiment, bucket(name + "/arm", unit)) if experiment["mode"] == "split" else 0, "hash"]


def request(experiment: dict[str, Any], prediction: str) -> list[Any]:
    """Which arm is called first for a request, and whether the other arms see it."""
    name, mode = experiment["name"], experiment["mode"]
    first = owner(experiment, bucket(name + "/order", prediction)) if mode == "paired" else 0
    return [first, mode != "split" and bucket(name + "/sample", prediction) < experiment["sample"]]


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answers = [
        {
            "units": [assign(experiment, unit) for unit in asked["units"]],
            "requests": [request(experiment, prediction) for prediction in asked["requests"]],
        }
        for experiment in asked["experiments"]
    ]
    json.dump(answers, sys.stdout)
