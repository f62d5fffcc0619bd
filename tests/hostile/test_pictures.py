"""What the decoder makes of hostile pictures, in a process of its own: a crash would end it."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.hostile.pictures import pictures
from tests.hostile.target import ROOT

MAX_SECONDS = 2.0
MAX_GROWTH_BYTES = 200 << 20


def test_every_picture_is_read_or_refused() -> None:
    """Each comes to one of its codes, quickly, and together they take little memory."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.hostile.pictures"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wanted = {picture.name: picture.codes for picture in pictures()}
    assert found["codes"].keys() == wanted.keys()
    assert {name: code for name, code in found["codes"].items() if code not in wanted[name]} == {}
    assert found["slowest_s"] < MAX_SECONDS
    assert found["grown_bytes"] < MAX_GROWTH_BYTES
