"""Channel-attention blocks, one paper a file, and the backbones that take them."""
