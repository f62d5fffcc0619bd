"""Rows of the zoo as tests need them: with weights that no symmetry hides, and sorted by what they prove."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn

from model_store import zoo

SEED = 0
# Whatever the net's own size is, images of this size give each layer something to normalise.
CALIBRATION_IMAGES, CALIBRATION_SIZE = 8, (64, 64)

BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d


def lively(row: zoo.Row) -> nn.Module:
    """A row's net with its documented classes, in eval mode: fresh weights, random normalisation.

    As drawn, a batch normalisation changes nothing, so a wrong one would not show, and a deep net's features
    outgrow what a sigmoid can tell apart. Here the statistics are those of random images, off by chance, and
    scales and offsets are random. Always the same ones.

    The variances are off upwards: with exact ones a deep net of random weights is chaotic, which means that
    it enlarges each rounding error a hundredfold or more.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = row.build(row.classes)
        norms = [module for module in net.modules() if isinstance(module, BatchNorm)]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
            norm.momentum = None  # the statistics are those of the next batch alone
        with torch.no_grad():
            net.train()(images(CALIBRATION_IMAGES, CALIBRATION_SIZE))
            for norm in norms:
                _disturb(norm)
    return net.eval()


def images(count: int, size: tuple[int, int]) -> Tensor:
    """Random inputs FP32 [count, 3, H, W], each of its own contrast and tint, so that gates differ."""
    contrast, tint = torch.rand(count, 1, 1, 1) + 0.5, torch.randn(count, 3, 1, 1)
    return torch.randn(count, 3, *size) * contrast + tint


def rows_of_each_kind(rows: Iterable[zoo.Row]) -> Iterator[zoo.Row]:
    """Of each family with each attention the row with the fewest parameters."""
    smallest: dict[tuple[str, str], zoo.Row] = {}
    for row in sorted(rows, key=lambda row: row.parameters):
        smallest.setdefault((row.family, row.attention), row)
    yield from smallest.values()


def _disturb(norm: BatchNorm) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    mean += 0.1 * variance.sqrt() * torch.randn_like(mean)
    variance *= torch.empty_like(variance).uniform_(1.0, 2.0)
