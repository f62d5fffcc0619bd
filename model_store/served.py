"""An archive at work without TorchServe: its own handler, imported from it, classifies in this process.

What evaluates and explains a net here is thereby the very code that serves it: decoding, resizing,
normalising, batching and the net itself. Opening an archive runs that code, as TorchServe would: open only
what you trust.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import logging
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from model_store.errors import ArchiveError, InputError
from model_store.inspect_archive import Inspection, inspect
from model_store.pack import CONFIG, HANDLERS
from model_store.recipe_table import PORTABLE
from model_store.threads import cpu_threads

_numbers: Final = itertools.count()
# Whose levels the handler sets, to keep TorchServe's log short.
_QUIETED: Final = ("", "ts.metrics.caching_metric")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBatch:
    """What became of N images; the rows of failed ones are NaN.

    Attributes:
        logits: FP32 [N,K].
        probabilities: FP32 [N,K], the softmax of `logits`.
        gates: FP32 [N,C], C the columns of attention_layout; None: not asked for.
        failures: Why an image has no answer, by its number from 0.
        decode_us: Microseconds from the files to the net's input.
        inference_us: Microseconds of the forward pass.
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    gates: NDArray[np.float32] | None
    failures: Mapping[int, str]
    decode_us: int
    inference_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What the handler reads of TorchServe's context."""

    system_properties: dict[str, object]
    model_yaml_config: dict[str, object]


class ServedArchive(AbstractContextManager["ServedArchive"]):
    """An archive, verified, unpacked and loaded; several may be open together, also of different versions.

    Use it in a `with` block: at its end the unpacked files and the handler's modules are gone.

        with ServedArchive(Path("digits_se.mar")) as served:
            probabilities = served.run([image]).probabilities

    Attributes:
        inspection: The archive's hashes and signature.json.
        device: Where the net runs, as torch writes it: cpu or cuda:N.
        threads: CPU threads of the forward pass.
        handler_version: Of the code that the archive brought along.
        recipe: Form in which that code runs the net.
        decoder: What it decodes JPEG files with.
    """

    def __init__(self, archive: Path, *, gpu: int | None = None) -> None:
        """Verify and load an archive.

        Args:
            archive: A .mar file.
            gpu: Number of the GPU to run on; None: the CPU.

        Raises:
            InputError: The file cannot be read, or this torch does not see that GPU.
            ArchiveError: The archive is damaged, its handler cannot be loaded or is too old, or its net does
                not compute on this machine what it computed when it was built.
        """
        _require_gpu(gpu)
        self.inspection = _verified(archive)
        self.device = "cpu" if gpu is None else f"cuda:{gpu}"
        self.threads: int = self.signature.get("threads") or torch.get_num_threads()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attnserve-")))
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)
            handler = stack.enter_context(_imported(folder / HANDLERS, archive))
            self.handler_version = str(handler.HANDLER_VERSION)
            self._classifier = _initialized(handler, folder, gpu, archive)
            # Code of archives that were built before there was a choice does not say.
            self.recipe = str(getattr(self._classifier, "recipe", PORTABLE))
            self.decoder = str(getattr(self._classifier, "decoder", "Pillow"))
            self._stack = stack.pop_all()

    @property
    def signature(self) -> dict[str, Any]:
        """signature.json."""
        return self.inspection.signature

    @property
    def labels(self) -> tuple[str, ...]:
        """K of them, in the order of the logits."""
        return tuple(self.signature["labels"])

    def run(self, images: Sequence[bytes], *, explain: bool = False) -> ServedBatch:
        """Classify encoded images as one batch; one that fails takes no other with it.

        Args:
            images: JPEG, PNG, WebP, BMP or GIF files.
            explain: Whether to return the gates too.

        Raises:
            InputError: `explain`, but the net has no gates.
            ArchiveError: The forward pass failed.
        """
        if explain and not self.signature["attention_layout"]:
            raise InputError(f"explain: {self.signature['name']!r} has no channel gates to show")
        with cpu_threads(self.threads):
            try:
                run = self._classifier.run(list(images), explain=explain)
            except RuntimeError as error:
                raise ArchiveError(f"archive: {self.inspection.path!r}: {error}") from error
        arrays = run.results.arrays
        return ServedBatch(
            logits=arrays["logits"],
            probabilities=arrays["probabilities"],
            gates=arrays["attention"] if explain else None,
            failures={number: str(why) for number, why in run.results.failures.items()},
            decode_us=run.decode_us,
            inference_us=run.inference_us,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the net, the handler's modules and the unpacked files."""
        self._classifier = None
        self._stack.close()


def _require_gpu(gpu: int | None) -> None:
    count = torch.cuda.device_count() if gpu is not None and torch.cuda.is_available() else 0
    if gpu is not None and not 0 <= gpu < count:
        raise InputError(f"gpu: {gpu} must be the number of a CUDA device, from 0; this torch sees {count}")


def _verified(archive: Path) -> Inspection:
    found = inspect(archive)
    if found.intact:
        return found
    reasons = [f"{name} is {reason}" for name, reason in found.damaged.items()]
    if found.listed == "differs":
        reasons.append("its sha256 differs from the SHA256SUMS beside it")
    raise ArchiveError(f"archive: {str(archive)!r} is damaged: {'; '.join(reasons)}")


@contextmanager
def _imported(package: Path, archive: Path) -> Iterator[Any]:
    """The archive's own `classify`, under a name that no other archive has, until the block ends."""
    name = f"_{HANDLERS}_{next(_numbers)}"
    try:
        yield _import(name, package, archive)
    finally:
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            del sys.modules[module]


def _import(name: str, package: Path, archive: Path) -> Any:  # noqa: ANN401  the archive's module has no types here
    source = package / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[str(package)])
    if spec is None or spec.loader is None or not source.exists():
        raise ArchiveError(f"archive: {str(archive)!r} lacks {HANDLERS}; it was not built by attnserve")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
        handler = importlib.import_module(f"{name}.classify")
    except Exception as error:
        raise ArchiveError(f"archive: {str(archive)!r}: its handler cannot be imported: {error}") from error
    if not hasattr(getattr(handler, "Classifier", None), "run"):
        raise ArchiveError(
            f"archive: {str(archive)!r}: its handler is older than this command needs; build the archive anew"
        )
    return handler


def _initialized(handler: Any, folder: Path, gpu: int | None, archive: Path) -> Any:  # noqa: ANN401  as above
    context = _Context(
        system_properties={"model_dir": str(folder), "gpu_id": gpu},
        model_yaml_config=yaml.safe_load((folder / CONFIG).read_bytes()) or {},
    )
    classifier = handler.Classifier()
    with _levels_kept(), cpu_threads(None):
        try:
            classifier.initialize(context)
        except RuntimeError as error:
            raise ArchiveError(f"archive: {str(archive)!r} cannot be served here: {error}") from error
    return classifier


@contextmanager
def _levels_kept() -> Iterator[None]:
    """Undo what the handler does to logging, which is right for a worker's process only."""
    before = {name: logging.getLogger(name).level for name in _QUIETED}
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
