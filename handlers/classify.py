"""The handler that TorchServe calls: one class, `initialize` once, `handle` per batch.

What may fail is answered per item, inside the reply. Only the loss of a whole forward pass is raised, as
RuntimeError: TorchServe then answers the batch UNAVAILABLE, and the gateway sends it elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import torch

from .attn_archive import ArchiveError, Signature, read_signature, verify_sums
from .attn_batch import scatter
from .attn_device import Placement, choose_device, gpu_required, is_sticky_cuda_error
from .attn_intake import Intake, Stages
from .attn_machine import machine_of
from .attn_net import Net, NetOutput
from .attn_options import Options
from .attn_recipes import Choice, NetRecipe, Wish, choose, wish_of
from .attn_rows import Card, Context, Run, answer, read_rows
from .attn_wire import Item

HANDLER_VERSION: Final = "1"

_log = logging.getLogger(__name__)


class Classifier:
    """Classifies images with the archive's net.

    Made by TorchServe, which calls `initialize` before the first `handle`, and both from one thread.
    """

    @property
    def recipe(self) -> str:
        """Name of the form that the net is served in."""
        return self._card.recipe

    @property
    def decoder(self) -> str:
        """Name of what reads JPEG files."""
        return self._card.decoder

    def initialize(self, ctx: Context) -> None:
        """Verify the archive, load the net, warm it up and check it: what is served afterwards is right.

        Raises:
            RuntimeError: The archive is damaged or incomplete, its net does not compute on this machine what
                it computed when it was built, or a GPU was asked for and there is none.
        """
        try:
            self._load(ctx)
        except RuntimeError:
            raise
        except Exception as error:
            raise ArchiveError(f"the archive cannot be loaded: {error}") from error

    def _load(self, ctx: Context) -> None:
        folder = Path(str(ctx.system_properties["model_dir"]))
        contents_sha256 = verify_sums(folder)
        signature = read_signature(folder)
        options = Options.of_config(ctx.model_yaml_config or {})
        device = _device(ctx, signature)
        choice = _served_form(folder, signature, device, wish_of(ctx.model_yaml_config or {}, os.environ))
        self._net = choice.served
        self._intake = Intake(signature, options, device)
        self._columns = {"logits": len(signature.labels), "attention": signature.gate_columns}
        self._card = Card(
            signature=signature,
            contents_sha256=contents_sha256,
            device=str(device),
            recipe=choice.recipe.name,
            recipe_reasons=choice.reasons,
            decoder=self._intake.decoder,
            handler=HANDLER_VERSION,
        )
        _silence_lines_per_request()
        for reason in choice.reasons:
            _log.warning("recipe %s is served: %s", choice.recipe.name, reason)
        for reason in self._intake.decoder_reasons:
            _log.info("decoder %s is used: %s", self._intake.decoder, reason)
        _log.info(
            "%s version %s is ready on %s, recipe %s, decoder %s",
            signature.name,
            signature.version,
            device,
            choice.recipe.name,
            self._intake.decoder,
        )

    def handle(self, data: Sequence[Mapping[str, object]], ctx: Context) -> list[bytes]:
        """Answer one TorchServe batch: rows of the gateway and of stock clients alike, with one forward pass.

        A bad row or item is answered for itself and touches no other.

        Args:
            data: One TorchServe request per row: key to bytes.
            ctx: TorchServe's context.

        Returns:
            One answer per row: a packed reply (see attn_wire), or JSON for a stock client.

        Raises:
            RuntimeError: The forward pass failed; the traceback is in the log. TorchServe answers the whole
                batch UNAVAILABLE, which the gateway retries. (After a CUDA error that only a new process
                cures, the process ends instead, and TorchServe starts another.)
        """
        rows = read_rows(data, explains=self._net.explains)
        items = [item for row in rows for item in row.items()]
        run = self.run(items, explain=any(row.wants_attention for row in rows))
        return answer(rows, run, self._card, ctx)

    def run(self, items: Sequence[Item], *, explain: bool) -> Run:
        """Classify items with one forward pass: decode, infer, bring the results back to the items.

        Args:
            items: Encoded images, uint8 [H,W,3] pixels and float32 [3,H,W] inputs, in any mixture.
            explain: Whether `attention` is wanted too, which only a net with gates has.

        Raises:
            RuntimeError: As `handle`.
        """
        started = perf_counter_ns()
        stages = self._intake.begin(items)
        output = self._forward(stages, explain=explain)
        inferred = perf_counter_ns()
        columns = {name: width for name, width in self._columns.items() if explain or name == "logits"}
        return Run(
            results=scatter(output, stages.done, columns=columns),
            decode_us=stages.waited_ns // 1000,
            inference_us=(inferred - started - stages.waited_ns) // 1000,
            inferred_ns=inferred,
        )

    def _forward(self, stages: Stages, *, explain: bool) -> NetOutput | None:
        try:
            return self._net.run(stages.inputs(), explain=explain)
        except Exception as error:
            _log.exception("the forward pass failed")
            if is_sticky_cuda_error(error):
                _log.critical("this process cannot use its GPU any more and ends, so that a new one starts")
                logging.shutdown()
                os._exit(1)
            # The text must not name CUDA: TorchServe would take that for exhausted memory.
            raise RuntimeError("the forward pass failed; see the worker's log") from error


def _silence_lines_per_request() -> None:
    """Raise the root logger's level, through which TorchServe's worker writes a line for every request.

    What counts keeps its level: our own lines, and the metrics, which TorchServe reads from the log.
    """
    logging.getLogger().setLevel(logging.WARNING)
    for name in (__package__ or __name__, "ts.metrics.caching_metric"):
        logging.getLogger(name).setLevel(logging.INFO)


def _served_form(folder: Path, signature: Signature, device: torch.device, wish: Wish | None) -> Choice[Net]:
    """The net in the best form that this machine can serve, ready."""

    def attempt(recipe: NetRecipe) -> Net:
        net = Net(folder, signature, Placement.of_dtype(device, recipe.dtype), file=recipe.file)
        net.warm_up()
        net.check_parity(folder, recipe.tolerance)
        return net

    return choose(signature.net_recipes, machine_of(device), wish, attempt)


def _device(ctx: Context, signature: Signature) -> torch.device:
    """Decide where to run, and prepare torch for it."""
    assigned = ctx.system_properties.get("gpu_id")
    gpu_id = assigned if isinstance(assigned, int) else None
    device = choose_device(
        gpu_id,
        cuda_available=torch.cuda.is_available(),
        required=gpu_required(ctx.model_yaml_config or {}, os.environ),
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif gpu_id is not None and gpu_id >= 0:
        _log.warning("TorchServe assigned GPU %d, but this torch sees no CUDA device: using the CPU", gpu_id)
    if device.type == "cpu" and signature.threads is not None:
        torch.set_num_threads(signature.threads)
    return device
