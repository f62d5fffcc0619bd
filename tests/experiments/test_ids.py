"""Ids of predictions, and of units that nobody named."""

from __future__ import annotations

import re

from serve.experiments.ids import Ids


def test_every_id_is_another_one() -> None:
    """Across draws and makers; all of 32 hexadecimal digits."""
    makers = Ids(), Ids()
    made = [ids.next() for ids in makers for _ in range(1000)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
