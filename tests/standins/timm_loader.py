"""timm for tests: with the real torchvision where it is installed, with the stand-in where not."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_timm() -> ModuleType:
    """Import timm, and leave the path of imports as it was."""
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("timm")
    folder = str(Path(__file__).parent)
    sys.path.append(folder)
    try:
        return importlib.import_module("timm")
    finally:
        sys.path.remove(folder)
