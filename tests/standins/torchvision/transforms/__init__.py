"""The classes that timm derives its own from."""


class ToTensor:
    """Only derived from, never called."""
