"""TorchScript files whose bytes depend on nothing but the net.

`torch.jit.save` writes three things that say how a net was made rather than what it is: class names that
carry a process-wide counter (`___torch_mangle_24`), `.debug_pkl` records with the paths of the source files,
and a class's constants in the order of a set, which differs from process to process. The first two are taken
out here and the last are sorted, so that equal nets give equal bytes in any process and any folder.
"""

from __future__ import annotations

import io
import re

import torch
from torch._C import PyTorchFileReader, PyTorchFileWriter

_MANGLED = re.compile(r"___torch_mangle_\d+")
# The writer adds these itself when it closes the file.
_WRITTEN_AT_THE_END = frozenset({"version", ".data/serialization_id"})
# Class names stand only in code and in the newline-ended GLOBAL opcodes of this pickle, so that replacing a
# name by one of another length breaks neither.
_HOLDS_CLASS_NAMES = re.compile(r"code/.*\.py|data\.pkl")
# A run of a class's constants, such as "  end_dim : Final[int] = -1": a line each, in any order.
_CONSTANTS = re.compile(r"(?:^  \w+ : Final\[.*\n)+", re.MULTILINE)


def to_bytes(module: torch.jit.ScriptModule) -> bytes:
    """Serialise a module; equal modules give equal bytes.

    Args:
        module: a scripted or traced module, best frozen: parameters of an unfrozen one keep their order too.

    Returns:
        A file that `torch.jit.load` reads.
    """
    raw = io.BytesIO()
    torch.jit.save(module, raw)
    raw.seek(0)
    return _rewritten(raw)


def _rewritten(raw: io.BytesIO) -> bytes:
    reader = PyTorchFileReader(raw)
    stable_names: dict[str, str] = {}

    def stable(match: re.Match[str]) -> str:
        return stable_names.setdefault(match.group(), f"net_{len(stable_names)}")

    clean = io.BytesIO()
    writer = PyTorchFileWriter(clean)
    for name in reader.get_all_records():
        if name in _WRITTEN_AT_THE_END or name.endswith(".debug_pkl"):
            continue
        data = reader.get_record(name)
        if _HOLDS_CLASS_NAMES.fullmatch(name):
            # latin-1 maps every byte to itself, so the pickle's binary parts survive.
            text = _MANGLED.sub(stable, data.decode("latin-1"))
            if name.startswith("code/"):
                text = _CONSTANTS.sub(_sorted_lines, text)
            data = text.encode("latin-1")
        writer.write_record(_MANGLED.sub(stable, name), data, len(data))
    writer.write_end_of_file()
    return clean.getvalue()


def _sorted_lines(run: re.Match[str]) -> str:
    return "".join(sorted(run.group().splitlines(keepends=True)))
