"""A program of its own: becomes COMMAND, and has it killed when the process that started it dies.

`python -I -S die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]`. The kernel sends the signal (Linux
only; elsewhere nothing is arranged), so it works even when the parent itself is killed with SIGKILL. A
program rather than a hook between fork and exec, because such hooks are not safe in a process that has
threads, and a gRPC server has many.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(arguments: list[str]) -> None:
    """Arrange the signal, then replace this program by the command; returns only when the parent is gone."""
    parent_pid, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the signal was arranged; then nobody would ever send it.
    if os.getppid() == int(parent_pid):
        os.execv(command[0], command)  # noqa: S606 - this is what the program is for


if __name__ == "__main__":
    main(sys.argv[1:])
