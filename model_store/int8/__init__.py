"""A net's form for CPUs with 8-bit dot products: weights and features are bytes, half as many as in bfloat16.

It is the fused form (`model_store.fuse`) quantised after training: each tensor of features has a scale and a
zero point that come from real images (`ranges`), each output channel of the weights has a scale of its own.
Gates, means and the last layers stay in floating point. A net whose classes change by it is refused.
"""

from model_store.int8.export import AGREEMENT, FEWEST, Samples, quantised

__all__ = ["AGREEMENT", "FEWEST", "Samples", "quantised"]
