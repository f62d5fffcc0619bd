"""What a supervised TorchServe is started with: addresses, configuration, logging, environment.

TorchServe is archived upstream and gets no fixes, so it is given as little as possible: loopback only,
tokens on, no addresses to fetch models from, no packages to install, no secrets in its environment.
The keys are those of TorchServe 0.12's ConfigManager.java.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from pathlib import Path
from string import Template
from xml.sax.saxutils import escape

LOOPBACK = "127.0.0.1"

# Serial GC and the first compiler tier only: half of Java's CPU time per request, and a quicker start.
DEFAULT_JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Xmx1g",  # several copies of the largest batch
)

# Variables that TorchServe would read behind the configuration's back, or that are no worker's business.
# Two are: with ATTNSERVE_REQUIRE_GPU the handler refuses to load without a GPU, and ATTNSERVE_RECIPE names
# the form of the net that it tries first.
_WITHHELD = re.compile(
    r"(?:ATTNSERVE_(?!(?:REQUIRE_GPU|RECIPE)\Z)|TS_).*|LOG_LOCATION|METRICS_LOCATION|SM_TELEMETRY_LOG"
    r"|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS"
)
# The pattern is read by Java, too: TorchServe withholds the same names from its workers.
_CONFIDENTIAL = "(?i).*(TOKEN|SECRET|KEY|PASS|CREDENTIAL|AUTH|COOKIE|PRIVATE|DSN).*"
# A password may also stand in a harmless variable, as part of an address: https://user:password@host
_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")

# Tokens must outlive the process: an expired one refuses everything until somebody fetches a new one.
_TOKEN_LIFETIME_MIN = 1_000_000_000

_CONFIG = Template("""\
inference_address=http://$loopback:$inference_http
management_address=http://$loopback:$management_http
metrics_address=http://$loopback:$metrics_http
grpc_inference_address=$loopback
grpc_inference_port=$inference_grpc
grpc_management_address=$loopback
grpc_management_port=$management_grpc
model_store=$store
enable_model_api=true
disable_token_authorization=false
token_expiration_min=$token_lifetime
allowed_urls=^$$
use_env_allowed_urls=false
enable_envvars_config=false
install_py_dep_per_model=false
blacklist_env_vars=$secret
default_workers_per_model=1
max_request_size=$max_message_bytes
max_response_size=$max_message_bytes
unregister_model_timeout=10
disable_system_metrics=true
enable_metrics_api=false
metrics_mode=log
metrics_config=$metrics_config
""")

# No metrics at all: the gateway measures, and TorchServe's are incomplete for gRPC.
# (A worker refuses a table whose model_metrics is empty; one without any gauge passes.)
METRICS_CONFIG = "dimensions: []\nts_metrics: {}\nmodel_metrics: {gauge: []}\n"

_LOG4J2 = Template("""\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="file" fileName="$log" filePattern="$log.%i">
      <PatternLayout pattern="%d{ISO8601} %-5p [%t] %m %ex{short.message}%n"/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="info">
      <RegexFilter regex="Backend received inference at.*" onMatch="DENY" onMismatch="NEUTRAL"/>
    </Logger>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="org.pytorch.serve.archive.model" level="error"/>
    <Logger name="org.pytorch.serve.ModelServer" level="info"/>
    <Root level="warn"><AppenderRef ref="file"/></Root>
  </Loggers>
</Configuration>
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports on loopback that one run of TorchServe listens on."""

    inference_http: int
    management_http: int
    metrics_http: int
    inference_grpc: int
    management_grpc: int

    @classmethod
    def pick(cls) -> Ports:
        """Five ports that are free now; somebody may take one before they are used."""
        with ExitStack() as held:
            sockets = [held.enter_context(socket.socket()) for _ in range(5)]
            for one in sockets:
                one.bind((LOOPBACK, 0))
            names = ("inference_http", "management_http", "metrics_http", "inference_grpc", "management_grpc")
            return cls(**dict(zip(names, (one.getsockname()[1] for one in sockets), strict=True)))

    def are_free(self) -> bool:
        """Whether all five can be bound now, by a server that allows for connections just closed."""
        with ExitStack() as held:
            for port in astuple(self):
                one = held.enter_context(socket.socket())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind((LOOPBACK, port))
                except OSError:
                    return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a running TorchServe answers, and the tokens that it asks for.

    Attributes:
        inference_grpc: host:port of the inference service.
        management_grpc: host:port of the management service.
        inference_http: Base address of REST predictions, for people: `/predictions/NAME`.
        inference_token: Bearer token of the inference port.
        management_token: Bearer token of the management port; never leaves this process.
    """

    inference_grpc: str
    management_grpc: str
    inference_http: str
    inference_token: str = field(repr=False)
    management_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Names of the files in the private folder of a supervised TorchServe, and of its log."""

    root: Path
    log: Path

    @property
    def store(self) -> Path:
        """The archives that TorchServe may load."""
        return self.root / "store"

    @property
    def temporary(self) -> Path:
        """Java's and the workers' temporary directory: unpacked archives, sockets."""
        return self.root / "tmp"

    @property
    def config(self) -> Path:
        """TorchServe's config.properties."""
        return self.root / "config.properties"

    @property
    def metrics_config(self) -> Path:
        """TorchServe's table of metrics: empty."""
        return self.root / "metrics.yaml"

    @property
    def log4j2(self) -> Path:
        """The logging configuration."""
        return self.root / "log4j2.xml"

    @property
    def console(self) -> Path:
        """What Java prints before and beside its log: start-up errors."""
        return self.root / "console.log"

    @property
    def keys(self) -> Path:
        """Tokens; TorchServe writes this name into its working directory."""
        return self.root / "key_file.json"


def config_properties(folder: Folder, ports: Ports, max_message_bytes: int) -> str:
    """Text of config.properties.

    Args:
        folder: Where the archives and the table of metrics are.
        ports: Where to listen.
        max_message_bytes: Largest request and largest reply.
    """
    return _CONFIG.substitute(
        loopback=LOOPBACK,
        inference_http=ports.inference_http,
        management_http=ports.management_http,
        metrics_http=ports.metrics_http,
        inference_grpc=ports.inference_grpc,
        management_grpc=ports.management_grpc,
        store=folder.store,
        metrics_config=folder.metrics_config,
        token_lifetime=_TOKEN_LIFETIME_MIN,
        secret=_CONFIDENTIAL,
        max_message_bytes=max_message_bytes,
    )


def log4j2_xml(log: Path) -> str:
    """Text of log4j2.xml: one rolling file, without the lines that TorchServe writes for every request."""
    return _LOG4J2.substitute(log=escape(str(log), {'"': "&quot;"}))


def java_command(java: Path, python: Path, home: Path, folder: Folder, options: tuple[str, ...]) -> list[str]:
    """The command that is TorchServe.

    Args:
        java: The `java` program.
        python: The interpreter of the workers.
        home: The folder that holds the package `ts`.
        folder: Where everything written lies.
        options: The JVM's own options.
    """
    return [
        str(java),
        *options,
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={folder.temporary}",
        f"-Dlog4j.configurationFile={folder.log4j2.as_uri()}",
        "-cp",
        f"{home}/ts/frontend/*",
        "org.pytorch.serve.ModelServer",
        "--python",
        str(python),
        "-f",
        str(folder.config),
        "-s",
        str(folder.store),
        "-ncs",
    ]


def environment(environ: Mapping[str, str], temporary: Path) -> dict[str, str]:
    """Our environment without secrets and without what would override the configuration."""
    secret = re.compile(_CONFIDENTIAL)
    kept = {
        name: value
        for name, value in environ.items()
        if not (_WITHHELD.fullmatch(name) or secret.fullmatch(name) or _WITH_PASSWORD.search(value))
    }
    return kept | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
