"""The limit of the machine: how fast it multiplies matrices, in the same rounds as the nets.

A convolution is such a multiplication, so a net of M multiply-adds for an image gets through at most
peak / 2M images a second. It is no strict bound: what a library reaches with torch's multiplication, another
one, or an algorithm that multiplies less (Lavin & Gray 2016, arXiv:1509.09308), can exceed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import torch

from loadtests.bench_model.forms import Precision
from loadtests.bench_model.rounds import Key, Rounds, Timer, timer

MATMUL: Final = "matrix multiplication"
SIDES: Final = (1024, 2048)
DTYPES: Final[Mapping[Precision, torch.dtype]] = MappingProxyType(
    {"float32": torch.float32, "bfloat16": torch.bfloat16}
)


def timers(sides: tuple[int, ...] = SIDES) -> dict[Key, Timer]:
    """Square matrices in each precision; `batch` is the side."""
    found = {}
    for precision, dtype in DTYPES.items():
        for side in sides:
            left, right = torch.rand(2, side, side, dtype=dtype)
            found[Key(net=MATMUL, form=precision, batch=side)] = timer(partial(torch.mm, left, right))
    return found


def peaks(rounds: Rounds) -> dict[str, float]:
    """The best rate of each precision, in floating-point operations a second."""
    best: dict[str, float] = {}
    for key, seconds in rounds.seconds.items():
        if key.net == MATMUL:
            rate = 2 * key.batch**3 / min(seconds)
            best[key.form] = max(rate, best.get(key.form, 0.0))
    return best
