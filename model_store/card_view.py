"""What was measured, as an archive's card has it, in words.

A card is free: what is of a known form gets words of its own, the rest is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

UNKNOWN: Final = "not given"

_CALIBRATION: Final = {
    "ece": "expected calibration error",
    "brier": "Brier score",
    "nll": "negative log-likelihood",
}
_EVALUATED: Final = frozenset(
    {
        "data",
        "images",
        "without_answer",
        "top1",
        "top1_interval_95",
        "top5",
        "top5_interval_95",
        *_CALIBRATION,
    }
)


def quality(card: Mapping[str, Any]) -> dict[str, str]:
    """Say how good the weights are: as measured when they were built, and by `attnserve evaluate`."""
    lines = {}
    if "accuracy" in card:
        held_out = mapping(card.get("split")).get("held_out")
        data = f"{held_out} held-out images" if held_out else f"data {UNKNOWN}"
        lines["accuracy at building"] = f"{_share(card, 'accuracy')}, {data}"
    evaluation = mapping(card.get("evaluation"))
    if evaluation:
        lines |= _evaluation(evaluation)
    return lines or {"accuracy": "not measured; attnserve evaluate does"}


def speed(card: Mapping[str, Any]) -> dict[str, str]:
    """Say how fast the net was where it was evaluated."""
    found = dict(mapping(card.get("speed")))
    if not found:
        return {"speed": "not measured"}
    rate = found.pop("images_per_second", None)
    where = text({name.replace("_", " "): value for name, value in found.items()})
    rates = "" if rate is None else f"{text(rate)} images a second"
    return {"speed": ", ".join(filter(None, (rates, where)))}


def recipe(found: Mapping[str, Any]) -> list[str]:
    """Write a recipe's name, device, precision, file, measured error and tolerance, each as a cell."""
    error = found["max_abs_error"]
    return [
        *(found[key] for key in ("name", "device", "dtype", "file")),
        "not measured" if error is None else f"{error:.2g}",
        f"{found['tolerance']:g}",
    ]


def _evaluation(found: Mapping[str, Any]) -> dict[str, str]:
    missing = f", {found['without_answer']} more without an answer" if found.get("without_answer") else ""
    lines = {"evaluated on": f"{found.get('data') or UNKNOWN}: {count(found.get('images'))} images{missing}"}
    lines |= {
        name: _share(found, key) for name, key in (("top-1", "top1"), ("top-5", "top5")) if key in found
    }
    calibration = [f"{name} {text(found[key])}" for key, name in _CALIBRATION.items() if key in found]
    lines["calibration"] = ", ".join(calibration) or UNKNOWN
    rest = {name: value for name, value in found.items() if name not in _EVALUATED}
    return lines | {f"evaluation's {name}": text(value) for name, value in rest.items()}


def _share(values: Mapping[str, Any], key: str) -> str:
    """Write a share and its interval, where it has one."""
    bounds = values.get(f"{key}_interval_95")
    interval = ""
    if isinstance(bounds, Sequence) and not isinstance(bounds, str):
        interval = f" (95 % interval {' to '.join(map(_percent, bounds))})"
    return f"{_percent(values[key])}{interval}"


def _percent(value: object) -> str:
    return f"{value:.2%}" if isinstance(value, int | float) else text(value)


def resized(size: Sequence[int], method: str, to: Sequence[int], interpolation: str) -> str:
    """Say how an image gets a net's height and width; sizes are (H, W), methods signature.json's."""
    how = f"stretched to {size[0]}x{size[1]}"
    if method == "shorter_side":
        how = f"shorter side to {to[0]}, centre {size[0]}x{size[1]}"
    return f"{how}, {interpolation}"


def scaled(mean: Sequence[float], std: Sequence[float]) -> str:
    """Say what becomes of its bytes."""
    means, stds = (" ".join(f"{value:g}" for value in values) for values in (mean, std))
    return f"0 to 1, mean {means}, std {stds}"


def mapping(value: object) -> Mapping[str, Any]:
    """Return what maps names to values; anything else as if it were empty."""
    return value if isinstance(value, Mapping) else {}


def count(value: object) -> str:
    """Write a number of things."""
    return f"{value:,}" if isinstance(value, int) else UNKNOWN


def text(value: object) -> str:
    """Write any value of a card."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(inner)}" for name, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
