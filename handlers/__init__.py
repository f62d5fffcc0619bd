"""What runs inside a TorchServe worker: the code that travels in every archive.

This folder is packed under the name `attn_handlers`, so its modules import each other relatively, and nothing
but the standard library, torch, numpy and Pillow. In the order of a request's walk:

* `classify` -- the one class that TorchServe calls, `Classifier`
* `attn_rows` -- one TorchServe request and its answer: packed (`attn_wire`, `attn_request`) or from a plain
  TorchServe client (`attn_stock`)
* `attn_intake` -- what is decoded when, and by what (`attn_decoders`, `attn_jpeg`, `attn_gpu_jpeg`)
* `attn_decode` -- encoded image to RGB; `attn_preprocess` -- RGB to the net's input
* `attn_batch` -- many rows to one forward pass, and its results back to rows
* `attn_archive` -- what the archive says of itself; `attn_device` -- where it runs; `attn_net` -- the net
"""
