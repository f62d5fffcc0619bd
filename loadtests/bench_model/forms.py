"""The forms that a net can be run in: as others run it, and as archives carry it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from handlers.attn_module import cast
from model_store import counts, zoo
from model_store.build import with_random_weights
from model_store.errors import BuildError
from model_store.fuse import fused
from model_store.int8.export import calibrated
from model_store.script import load, quiet_jit

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]
Run: TypeAlias = Callable[[Tensor], Tensor]

SEED: Final = 0
CALIBRATION: Final = 8  # images


class FormError(Exception):
    """A net cannot be had in a form; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A net of the zoo with random weights: speed does not ask for training.

    Attributes:
        name: Its row's.
        net: Maps float32 [N,3,H,W] to logits [N,K]; in eval mode.
        size: H and W, in pixels.
        macs: Multiply-adds for one image.
    """

    name: str
    net: nn.Module
    size: tuple[int, int]
    macs: int

    @classmethod
    def of_zoo(cls, name: str) -> Subject:
        """The net of that row.

        Raises:
            UnknownArchitectureError: There is no such row.
        """
        row = zoo.get(name)
        net = with_random_weights(row.build, row.classes).eval()
        size = row.recipe.input_size
        return cls(name=name, net=net, size=size, macs=counts.macs(net, size))

    def images(self, batch: int) -> Tensor:
        """Random images, always the same ones: float32 [batch,3,H,W]."""
        return torch.randn(batch, 3, *self.size, generator=torch.Generator().manual_seed(SEED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way of running a net.

    Attributes:
        says: What it is.
        precision: Of its arithmetic.
        make: Net -> function from a batch, in the form's precision and memory format, to logits.
    """

    says: str
    precision: Precision
    make: Callable[[Subject], Run]

    def input(self, images: Tensor) -> Tensor:
        """Float32 [N,3,H,W] as the form wants it."""
        if self.precision == "bfloat16":
            return images.to(torch.bfloat16, memory_format=torch.channels_last)
        return images


def traced(subject: Subject) -> torch.jit.ScriptModule:
    """TorchScript by tracing, in float32."""
    found: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call] # torch's lack
        subject.net, subject.images(2), check_trace=False
    )
    return found


def make(form: str, subject: Subject) -> Run:
    """Bring a net into a form.

    Raises:
        FormError: This net, or this machine, does not allow it.
    """
    try:
        with quiet_jit(), torch.no_grad():
            return FORMS[form].make(subject)
    except (BuildError, ImportError, RuntimeError) as error:
        raise FormError(f"{form}: {_first_line(error)}") from error


def _script(subject: Subject) -> Run:
    found: Run = torch.jit.script(subject.net)
    return found


def _portable(subject: Subject) -> torch.jit.ScriptModule:
    found: torch.jit.ScriptModule = torch.jit.freeze(traced(subject))
    return found


def _bf16(subject: Subject) -> Run:
    return cast(_portable(subject), torch.bfloat16, torch.channels_last)


def _fused(subject: Subject) -> Run:
    return load(fused(subject.net, input_size=subject.size))


def _int8(subject: Subject) -> Run:
    """Calibrated on noise: random weights have no images of their own, and speed does not ask for them."""
    return load(calibrated(subject.net, input_size=subject.size, images=subject.images(CALIBRATION)))


def _compiled(subject: Subject) -> Run:
    """With the weights as constants, which is what freezing is for TorchScript."""
    inductor: Any = __import__("torch._inductor.config", fromlist=["freezing"])
    inductor.freezing = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.compile(subject.net)


FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "script": Form(says="torch.jit.script, as tutorials do", precision="float32", make=_script),
        "eager": Form(says="plain PyTorch", precision="float32", make=lambda subject: subject.net),
        "compile": Form(says="torch.compile, frozen", precision="float32", make=_compiled),
        "portable": Form(says="traced and frozen", precision="float32", make=_portable),
        "cpu-bf16": Form(says="the same, weights bfloat16", precision="bfloat16", make=_bf16),
        "cpu-fused": Form(says="oneDNN's fused operators", precision="bfloat16", make=_fused),
        "cpu-int8": Form(says="the same on bytes, calibrated", precision="int8", make=_int8),
    }
)
RECIPES: Final = ("portable", "cpu-bf16", "cpu-fused")
"""Those that archives carry, the slowest first."""


def error(form: str, run: Run, subject: Subject) -> float:
    """Largest difference to the eager net's logits, divided by the largest of these."""
    images = subject.images(2)
    with torch.inference_mode():
        expected = subject.net(images)
        found = run(FORMS[form].input(images)).float()
    return float((found - expected).abs().max() / expected.abs().max())


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
