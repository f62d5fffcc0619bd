"""What a change of names cannot do: weights whose parts another project orders or cuts differently.

Each takes weights under our names, though the parts may still be foreign ones, and returns new ones.
"""

from __future__ import annotations

import re
from typing import Final

import torch
from torch import Tensor

from model_store.weights.layout import Weights

_PLACES: Final = re.compile(r"\.attention\.spatial\.conv\.weight$")
_BRANCH: Final = re.compile(r"^(.*\.gate)\.fcs\.(\d+)\.(weight|bias)$")


def maximum_first(weights: Weights) -> Weights:
    """Swap the two inputs of CBAM's convolution over the places, [1, 2, 7, 7].

    timm puts the mean over channels first and the maximum second; here, as in the authors' code, it is the
    other way round.
    """
    return {key: value.flip(1) if _PLACES.search(key) else value for key, value in weights.items()}


def branches_joined(weights: Weights) -> Weights:
    """Put the linear layers of SK's branches, M of [C, d], together as one [M * C, d], branch-major.

    So with their biases, which the paper's attention has not (equation 5), but many an implementation has.
    """
    found = {key: _BRANCH.match(key) for key in weights}
    joined = {key: value for key, value in weights.items() if found[key] is None}
    branches: dict[str, dict[int, Tensor]] = {}
    for key, match in found.items():
        if match is not None:
            branches.setdefault(f"{match[1]}.fc2.{match[3]}", {})[int(match[2])] = weights[key]
    for name, parts in branches.items():
        joined[name] = torch.cat([parts[index] for index in sorted(parts)])
    return joined
