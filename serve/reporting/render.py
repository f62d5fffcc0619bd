"""Starts the program that draws a report, and gives what it wrote."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import structlog

from serve import die_with_parent
from serve.core.errors import DeadlineError, InternalError, UnsupportedError

# What Python and the plotting library look at; the gateway's other variables may hold secrets.
_KEPT = ("HOME", "LANG", "LC_ALL", "MPLCONFIGDIR", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
_NEEDED = ("jinja2", "matplotlib")

log = structlog.get_logger(__name__)


async def render(document: Mapping[str, Any], timeout_s: float) -> bytes:
    """Draw a report as one HTML file, in a process of its own that ends with this call.

    Args:
        document: What `serve.reporting.page.page` reads.
        timeout_s: In which it must be done, in seconds.

    Raises:
        UnsupportedError: What draws it is not installed.
        DeadlineError: It was not done in time.
        InternalError: The program failed; the log has what it said.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UnsupportedError(
            f"report as HTML: {' and '.join(missing)} not installed here; `pip install 'attnserve[report]'` "
            "brings what is missing, and the report as JSON needs nothing"
        )
    process = await _start()
    try:
        async with asyncio.timeout(timeout_s):
            page, said = await process.communicate(json.dumps(document).encode())
    except TimeoutError as error:
        raise DeadlineError(f"the report was not drawn within {timeout_s:g} s") from error
    finally:
        await _end(process)
    if process.returncode:
        log.error("report_failed", status=process.returncode, said=said.decode(errors="replace")[-2000:])
        raise InternalError("the report could not be drawn")
    return page


async def _start() -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())),
        *(sys.executable, "-I", "-m", "serve.reporting"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={name: os.environ[name] for name in _KEPT if name in os.environ} | {"NO_COLOR": "1"},
        cwd="/" if os.name == "posix" else None,
        start_new_session=True,
    )


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
