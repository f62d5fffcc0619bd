"""A user's own TorchScript file: described in a few lines, tried, and packaged as it is.

The description is JSON or YAML. Required are `name`, `labels` and `input` (as in signature.json: size,
resize, mean, std); the other fields of Description have the defaults that it shows.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import torch
import yaml
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from model_store import script
from model_store.errors import InputError, ParityError
from model_store.options import DEFAULT_OPTIONS, CudaDtype, ServingOptions
from model_store.pack import Archive, pack
from model_store.proof import max_relative_error, proof_inputs
from model_store.recipe_table import TOLERANCE
from model_store.recipes import Choice, Origin, choose
from model_store.signature import BATCH_BUCKETS, NO_OTHER_KEYS, Identity, InputRecipe, Resize, Signature
from model_store.sums import sha256

LOGITS_DIMENSIONS: Final = 2
_UNKNOWN: Final = "unexpected_keyword_argument"  # pydantic's name for it
_Document = TypeVar("_Document", "Description", InputRecipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a user says of a net; see Signature and Identity for the fields' meaning."""

    # Labels and versions are often numbers, which YAML does not quote.
    __pydantic_config__: ClassVar = {**NO_OTHER_KEYS, "coerce_numbers_to_str": True}

    name: str
    labels: tuple[str, ...]
    input: InputRecipe
    version: str = "1"
    architecture: str = "torchscript"
    family: str = "unknown"
    attention: str = "unknown"
    trained: bool = True
    batch_buckets: tuple[int, ...] = BATCH_BUCKETS
    threads: int | None = None
    cuda_dtype: CudaDtype | None = None
    card: dict[str, Any] = field(default_factory=dict)

    def options(self, given: ServingOptions) -> ServingOptions:
        """The given options, and where they leave something open, what this says."""
        return replace(
            given,
            cuda_dtype=given.cuda_dtype or self.cuda_dtype,
            threads=self.threads if given.threads is None else given.threads,
        )

    def identity(self) -> Identity:
        """The part that names the model."""
        return Identity(
            name=self.name,
            version=self.version,
            architecture=self.architecture,
            family=self.family,
            attention=self.attention,
            trained=self.trained,
        )


def read_description(path: Path) -> Description:
    """Read a user's description.

    Raises:
        InputError: Unreadable, a key missing, unknown or of the wrong type; the message names file and key.
    """
    return _read("signature", path, Description)


def read_recipe(path: Path) -> InputRecipe:
    """Read how images are prepared: the `input` object of a signature.

    Raises:
        InputError: As for `read_description`.
    """
    return _read("preprocessing", path, InputRecipe)


def _read(what: str, path: Path, kind: type[_Document]) -> _Document:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))  # YAML 1.2 holds JSON
        return TypeAdapter(kind).validate_python(document)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what}: cannot read {str(path)!r}: {error}") from error
    except yaml.YAMLError as error:
        first_line = str(error).partition("\n")[0]
        raise InputError(f"{what}: {str(path)!r} is neither JSON nor YAML: {first_line}") from error
    except ValidationError as error:
        raise InputError(f"{what}: {str(path)!r}: {_first_problem(error)}") from error


def pack_user_net(
    model: bytes,
    description: Description,
    options: ServingOptions = DEFAULT_OPTIONS,
    *,
    on_choice: Callable[[Choice], None] = lambda _: None,
) -> Archive:
    """Package a TorchScript file unchanged, after having tried it.

    Args:
        model: The file: forward(x FP32 [N,3,H,W]) -> logits FP32 [N,K], in eval mode.
        description: What the user says of it.
        options: How it is to be served.
        on_choice: Told which recipes it got.

    Raises:
        InputError: The file is no TorchScript, or does not take or give what the description says.
        ParityError: Two runs of the same input differ by more than the tolerance.
    """
    options = description.options(options)
    choice = choose(*_tried(model, description), options)
    on_choice(choice)
    signature = Signature(
        identity=description.identity(),
        recipe=description.input,
        labels=description.labels,
        attention_layout=choice.net.attention_layout,
        weights_sha256=sha256(model),
        parity=choice.net.parity,
        card=description.card,
        batch_buckets=description.batch_buckets,
        threads=choice.threads,
        cuda_dtype=choice.cuda_dtype,
        recipes=choice.net.recipes,
        spin=options.spin,
    )
    return pack(signature, choice.net, options)


def _tried(model: bytes, description: Description) -> tuple[script.ExportedNet, Origin]:
    """Run a net twice: there is no eager one to compare with, but one that contradicts itself is caught."""
    net = _load(model)
    inputs = proof_inputs(description.input.size)
    for batch in inputs.all:
        _require_logits(net, batch, len(description.labels))
    error = max_relative_error(net, _load(model), ["forward"], inputs.all)
    if not error <= TOLERANCE:
        raise ParityError(f"two runs on the same input differ by {error:.3g} (tolerance {TOLERANCE:g})")
    exported = script.exported(net, model, inputs, parity=inputs.parity("given", error))
    return exported, Origin(net=net, inputs=inputs)


def _load(model: bytes) -> torch.jit.ScriptModule:
    try:
        net = script.load(model)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            "torchscript: must be a file of torch.jit.save, which torch.jit.load reads"
        ) from error
    # A frozen module has no such attribute any more.
    if getattr(net, "training", False):
        raise InputError("torchscript: the net is in training mode; call .eval() before saving it")
    return net


@torch.inference_mode()
def _require_logits(net: torch.jit.ScriptModule, batch: Tensor, classes: int) -> None:
    given = f"an FP32 input {list(batch.shape)}"
    try:
        logits = net(batch)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise InputError(f"torchscript: the net refuses {given}: {_last_line(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != LOGITS_DIMENSIONS or len(logits) != len(batch):
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"torchscript: {given} must give logits [{len(batch)}, {classes}] as one tensor, got {found}"
        )
    if logits.dtype != torch.float32:
        raise InputError(f"torchscript: logits must be torch.float32, got {logits.dtype}")
    if logits.shape[1] != classes:
        raise InputError(f"labels: {classes} given, but the net has {logits.shape[1]} classes")


def _first_problem(error: ValidationError) -> str:
    # An unknown key is often a misspelt one that is then missing too: it says more.
    problems = sorted(error.errors(include_url=False), key=lambda one: one["type"] != _UNKNOWN)
    kind, path = problems[0]["type"], ".".join(str(part) for part in problems[0]["loc"])
    if kind == _UNKNOWN:
        known = [one.name for owner in (Description, InputRecipe, Resize) for one in fields(owner)]
        near = difflib.get_close_matches(str(problems[0]["loc"][-1]), known, n=1)
        return f"{path}: unknown key{f'; did you mean {near[0]!r}?' if near else ''}"
    if kind == "missing":
        return f"{path}: this key is required"
    return f"{path or 'the document'}: {problems[0]['msg']}, got {problems[0]['input']!r}"


def _last_line(error: Exception) -> str:
    # TorchScript puts the reason after its own traceback.
    return str(error).strip().splitlines()[-1]
