"""A digits net that is worse than another by a known number of points: its weights, and noise on them."""

from __future__ import annotations

import copy
import fcntl
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from model_store import checkpoint, zoo
from model_store.build import Order, build_checkpoint, input_recipe
from model_store.checkpoint import Checkpoint
from model_store.demo import build_demo
from model_store.digits import LABELS, load_split
from model_store.train import confusion_matrix

GOOD, BAD, AWFUL = "digits_se", "digits_bad", "digits_awful"
# Points of accuracy, in shares, that each loses on the held-out digits: at least and at most.
LOSSES = {BAD: (0.018, 0.026), AWFUL: (0.07, 0.10)}
STEPS = 40
SEED = 3


def worse_store(folder: Path) -> Path:
    """A model store with the good net and the worse ones; one that is there is used again.

    Args:
        folder: Belongs to the sources of the nets as they are now.
    """
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    store = folder / f"worse-{recipe}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "worse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once must not build into one folder
        if not (store / "complete").exists():
            _build(store)
            (store / "complete").touch()
    return store


def held_out() -> list[tuple[bytes, str]]:
    """The held-out digits as PNG files, with what they show."""
    part = load_split().held_out
    return [
        (_png(Image.fromarray(one)), LABELS[label])
        for one, label in zip(part.pixels, part.labels, strict=True)
    ]


def _build(store: Path) -> None:
    weights = store / "checkpoints"
    build_demo(store, checkpoints=weights, names=(GOOD,))
    trained = checkpoint.load(weights / f"{GOOD}.pt")
    for name, (least, most) in LOSSES.items():
        path = weights / f"{name}.pt"
        net = _worse(_net(trained), least, most)
        checkpoint.save(path, Checkpoint(architecture=GOOD, state_dict=net.state_dict(), card={}))
        build_checkpoint(GOOD, path, LABELS, Order(name=name), store)


def _net(trained: Checkpoint) -> nn.Module:
    net = zoo.get(GOOD).build(len(LABELS))
    net.load_state_dict(trained.state_dict)
    return net


def _worse(net: nn.Module, least: float, most: float) -> nn.Module:
    """The net with so much noise on its weights that it loses between `least` and `most`, by bisection."""
    share_right = _judge()
    best, low, high = share_right(net), 0.0, 2.0
    for _ in range(STEPS):
        scale = (low + high) / 2
        noisy = _noisy(net, scale)
        loss = best - share_right(noisy)
        if least <= loss <= most:
            return noisy
        low, high = (scale, high) if loss < least else (low, scale)
    raise AssertionError(f"no noise makes it between {least} and {most} worse")


def _judge() -> Callable[[nn.Module], float]:
    recipe, part = input_recipe(zoo.get(GOOD).recipe), load_split().held_out

    def share_right(net: nn.Module) -> float:
        counts = confusion_matrix(net, recipe, part)
        return sum(counts[digit][digit] for digit in range(len(LABELS))) / len(part)

    return share_right


def _noisy(net: nn.Module, scale: float) -> nn.Module:
    """A copy; noise of `scale` standard deviations of each tensor's own weights is added to them."""
    noisy, chance = copy.deepcopy(net), torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in noisy.parameters():
            if weights.dim() > 1:
                noise = torch.randn(weights.shape, generator=chance)
                weights.add_(noise, alpha=scale * float(weights.std()))
    return noisy


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
