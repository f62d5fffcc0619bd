"""A net's fastest form on a CPU: TorchScript that calls oneDNN's fused operators, and needs only torch.

A convolution with its activation, or with the sum of a residual block and its ReLU, is one pass over memory;
batch normalisation is folded away; weights lie in the processor's own layout from the moment the file is
loaded; a channel attention costs as few passes as can be (`model_store.fuse.attention`).
The file is for CPUs with bfloat16 instructions, and wants a portable form beside it for all others.
"""

from model_store.fuse.export import fused

__all__ = ["fused"]
