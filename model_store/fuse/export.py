"""From a net to the bytes of its fused form."""

from typing import Final

import torch
from torch import Tensor, fx, nn

from model_store.errors import FuseError
from model_store.fuse.attention import Selection, WeightedSum
from model_store.fuse.convolution import Convolution, Sum
from model_store.fuse.folding import fold
from model_store.fuse.overwriting import allow_overwriting
from model_store.fuse.patterns import Rewriter
from model_store.fuse.tracing import FUSED, traced
from model_store.script import quiet_jit
from model_store.threads import cpu_threads
from model_store.torchscript_bytes import to_bytes

_WITH_CONVOLUTION = (Convolution, Selection, Sum, WeightedSum)

_CLAIMED: Final[set[tuple[str, str]]] = set()  # the names that this process has given away


class FusedNet(nn.Module):
    """A rewritten net that takes its input as it comes."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = net
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, 3, H, W] to logits [N, K]; where x has another type or layout, it is copied."""
        logits: Tensor = self.net(x.to(dtype=self.dtype, memory_format=torch.channels_last))
        return logits


def fused(net: nn.Module, *, input_size: tuple[int, int], dtype: torch.dtype = torch.bfloat16) -> bytes:
    """Return a TorchScript file of a net that calls oneDNN's fused operators on a CPU.

    Args:
        net: from FP32 [N, 3, H, W] to logits FP32 [N, K]; it is computed in its eval mode, and not changed.
        input_size: (H, W); other sizes are computed as well, though the choices are made for this one.
        dtype: of weights, features and logits.

    Raises:
        FuseError: the net has no convolution, or code that cannot be followed; or this machine cannot try it.
    """
    _require_onednn(dtype)
    with cpu_threads(1), torch.no_grad(), quiet_jit():
        graph = traced(net, input_size)
        fold(graph)
        Rewriter(net=graph, dtype=dtype).run()
        if not any(isinstance(module, _WITH_CONVOLUTION) for module in graph.modules()):
            raise FuseError("the net has no convolution that could be fused")
        allow_overwriting(graph)
        _cast_the_rest(graph, dtype)
        return to_bytes(scripted(FusedNet(graph, dtype).eval()))


def _require_onednn(dtype: torch.dtype) -> None:
    """Refuse a machine on which the fused operators cannot be tried."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call] # torch's lack
        raise FuseError("this build of torch has no oneDNN")
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 # as all
        raise FuseError("dtype must be float32 on this CPU, for which oneDNN has no bfloat16")


def _cast_the_rest(net: fx.GraphModule, dtype: torch.dtype) -> None:
    """Bring what no pattern took to the type of the features, and drop what is no longer called."""
    net.delete_all_unused_submodules()
    for name, module in net.named_children():
        # A normalisation that was not folded keeps its statistics in FP32: it takes features of any type.
        if not name.startswith(FUSED):
            module.apply(lambda one: None if isinstance(one, nn.BatchNorm2d) else _cast(one, dtype))
    _cast(net, dtype)


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the numbers that a module holds itself."""
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def scripted(net: nn.Module) -> torch.jit.ScriptModule:
    """Return a net's TorchScript."""
    _claim_names({type(module) for module in net.modules()})
    try:
        scripted: torch.jit.ScriptModule = torch.jit.script(net)
    except (RuntimeError, TypeError, AttributeError, ValueError) as failure:
        reason = next((line for line in str(failure).splitlines() if line.strip()), type(failure).__name__)
        raise FuseError(f"the net's operations cannot be scripted: {reason}") from failure
    return scripted


def _claim_names(kinds: set[type[nn.Module]]) -> None:
    """Let no class in the file have a plain name.

    TorchScript gives the plain name to the first class of a process that wants it, and numbered names to all
    others. Numbers can be taken out of a file (`torchscript_bytes`), so that its bytes do not tell who came
    first, if there are only numbered names.
    """
    for kind in sorted(kinds, key=lambda one: (one.__module__, one.__qualname__)):
        name = (kind.__module__, kind.__qualname__)
        if name not in _CLAIMED:
            namesake = type(kind.__name__, (nn.Module,), {"__module__": name[0], "__qualname__": name[1]})
            torch.jit.script(namesake())
            _CLAIMED.add(name)
