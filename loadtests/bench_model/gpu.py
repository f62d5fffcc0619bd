"""The bare module on a GPU: each precision, with and without CUDA graphs, over batch sizes.

What runs is the handler's own `Net`: pixels [N,H,W,3] from pinned memory to the GPU, normalised there, logits
back to the CPU. It records graphs when it is warmed up, and keeps those that are faster; a net that is not
warmed up has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import torch

from handlers.attn_archive import Signature, read_signature
from handlers.attn_device import Placement
from handlers.attn_net import Net, NetInput
from loadtests.bench_model.rounds import Key, Plan, Rounds, Timer, interleave, timer

BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
DTYPES: Final = ("float32", "float16", "bfloat16")
GRAPHS: Final = ", CUDA graphs"


class NoGpuError(Exception):
    """There is none, or torch cannot use it."""


def the_gpu() -> torch.device:
    """The first one.

    Raises:
        NoGpuError: See there.
    """
    if not torch.cuda.is_available():
        build = "has CUDA" if torch.version.cuda else "is a CPU build"
        raise NoGpuError(f"there is no GPU here that torch can use (torch {torch.__version__} {build})")
    return torch.device("cuda", 0)


def bare(
    folder: Path, device: torch.device, batches: tuple[int, ...], plan: Plan, say: Callable[[str], None]
) -> Rounds:
    """Measure every form of an unpacked archive's net in turns.

    Args:
        folder: Of the archive.
        device: The GPU; tests give the CPU.
        batches: Images in a batch.
        plan: How much.
        say: Told what is going on.
    """
    signature = replace(read_signature(folder), buckets=batches)
    timers: dict[Key, Timer] = {}
    for dtype in DTYPES:
        placement = Placement.of_dtype(device, dtype)
        for form, warm in ((dtype, False), (dtype + GRAPHS, True)):
            say(f"{signature.name}, {form}: loading")
            net = Net(folder, signature, placement)
            if warm:
                net.warm_up()
            for batch in batches:
                images = pixels(signature, batch, pin=placement.on_cuda)
                timers[Key(net=signature.name, form=form, batch=batch)] = timer(partial(net, images))
    return interleave(timers, plan, say)


def pixels(signature: Signature, batch: int, *, pin: bool) -> NetInput:
    """Random images as the handler's decoder leaves them."""
    height, width = signature.recipe.size
    generator = torch.Generator().manual_seed(0)
    found = torch.randint(256, (batch, height, width, 3), dtype=torch.uint8, generator=generator)
    return NetInput(pixels=found.pin_memory() if pin else found, tensors=torch.zeros(0, 3, height, width))
