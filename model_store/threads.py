"""How many CPU threads torch may use, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Use `count` threads inside the block; None changes nothing.

    OpenMP's threads wait busily for each other, so that tiny nets gain nothing from a second one, and on a
    machine that has other work to do become many times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
