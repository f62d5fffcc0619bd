"""Runs one load test in a pod, and keeps its report there until it is fetched, or nobody wants it any more.

The arguments of this program, then the options in the variable LOADTEST, are those of `python -m loadtests`;
WORKERS is for how many workers it waits, and KEEP_S for how many seconds the report is kept.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn


def command(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command line of the load test.

    Raises:
        SystemExit: A variable is missing.
    """
    for name in ("LOADTEST", "WORKERS", "KEEP_S"):
        if not environment.get(name):
            sys.exit(f"{name}: is not set")
    workers, options = environment["WORKERS"], shlex.split(environment["LOADTEST"])
    return [sys.executable, "-m", "loadtests", *arguments, f"--workers={workers}", *options]


def run(load: Sequence[str], keep_s: float) -> int:
    """Run it, and wait; SIGTERM ends the load in good order, or the waiting."""
    signal.signal(signal.SIGTERM, _leave)
    process = subprocess.Popen(load)  # noqa: S603 - our own program
    try:
        status = process.wait()
        print(f"the load test ended with status {status}; its report is kept for {keep_s:g} s", flush=True)  # noqa: T201 - its log
        time.sleep(keep_s)
    except SystemExit:
        process.terminate()  # does nothing to one that has ended
    return process.wait()


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit


if __name__ == "__main__":
    sys.exit(run(command(sys.argv[1:], os.environ), float(os.environ["KEEP_S"])))
