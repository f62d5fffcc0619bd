"""From a net and real images to the bytes of its quantised form, if it gives the same classes."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from model_store.errors import CalibrationError
from model_store.fuse.export import FusedNet, scripted
from model_store.fuse.folding import fold
from model_store.fuse.patterns import Rewriter
from model_store.fuse.tracing import traced
from model_store.int8.ranges import calibrate
from model_store.int8.rewriting import Quantiser
from model_store.script import load, quiet_jit
from model_store.threads import cpu_threads
from model_store.torchscript_bytes import to_bytes

FEWEST: Final = 32
"""Images to calibrate with, at least."""

AGREEMENT: Final = 0.99
"""Share of other images whose most probable class must be the net's."""

_BATCH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Real images, as the net is given them: FP32 [n, 3, H, W] each.

    Attributes:
        calibration: show how large features become.
        held_out: other ones, on which the quantised net is compared with the net.
    """

    calibration: Tensor
    held_out: Tensor

    def __post_init__(self) -> None:
        """Refuse too few.

        Raises:
            CalibrationError: the message gives the number and the rule.
        """
        for use, images in (("to calibrate with", self.calibration), ("to check with", self.held_out)):
            if len(images) < FEWEST:
                raise CalibrationError(
                    f"calibration: {len(images)} images {use}, at least {FEWEST} are needed"
                )

    @classmethod
    def of(cls, images: Tensor) -> "Samples":
        """Calibrate with every other image [n, 3, H, W], and hold the rest out.

        Raises:
            CalibrationError: there are fewer than twice `FEWEST`.
        """
        if len(images) < 2 * FEWEST:
            raise CalibrationError(
                f"calibration: {len(images)} images, at least {2 * FEWEST} are needed: {FEWEST} to calibrate "
                f"with, and as many others to check with"
            )
        return cls(calibration=images[::2], held_out=images[1::2])


def quantised(net: nn.Module, *, input_size: tuple[int, int], samples: Samples) -> bytes:
    """Return a TorchScript file of a net that calculates on bytes on a CPU, from FP32 [N, 3, H, W] to logits.

    Args:
        net: from FP32 [N, 3, H, W] to logits FP32 [N, K]; it is computed in its eval mode, and not changed.
        input_size: (H, W).
        samples: real images; a net's features on noise say nothing of those on what it is served.

    Raises:
        CalibrationError: the quantised net tells other classes; the message gives the share of equal ones.
        FuseError: the net has no fused form.
    """
    file = calibrated(net, input_size=input_size, images=samples.calibration)
    share = agreement(net, load(file), samples.held_out)
    if share < AGREEMENT:
        raise CalibrationError(
            f"calibration: {share:.1%} of {len(samples.held_out)} images that it did not see get the same "
            f"class as before, at least {AGREEMENT:.0%} must"
        )
    return file


def calibrated(net: nn.Module, *, input_size: tuple[int, int], images: Tensor) -> bytes:
    """Return what `quantised` returns, unchecked.

    Raises:
        FuseError: the net has no fused form.
    """
    with cpu_threads(1), torch.no_grad(), quiet_jit():
        graph = traced(net, input_size)
        fold(graph)
        Rewriter(net=graph, dtype=torch.float32).run()
        calibrate(graph, torch.split(images, _BATCH))
        Quantiser(net=graph).run()
        return to_bytes(scripted(FusedNet(graph, torch.float32).eval()))


@torch.inference_mode()
def agreement(net: nn.Module, other: nn.Module, images: Tensor) -> float:
    """Return the share of images [n, 3, H, W] that get the same most probable class from both nets."""
    batches = torch.split(images, _BATCH)
    same = [net(batch).argmax(dim=1) == other(batch).argmax(dim=1) for batch in batches]
    return float(torch.cat(same).float().mean())
