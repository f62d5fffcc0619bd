"""A gateway that does not trace does not even load what traces; one that cannot says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve.config import ConfigError, read_config
from serve.doors import SetupError
from tests.tracing.gateway import traced_gateway

ROOT = Path(__file__).parents[2]

# The web framework imports OpenTelemetry's interface, behind which nothing happens by itself. Finders are
# asked in their order, so that this one hides what is installed.
OFF = """
import sys

PARTS = ("opentelemetry.sdk", "opentelemetry.exporter")

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in PARTS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

from serve.app import Gateway
from serve.config import ConfigError
from serve.settings import Config

plain = Config(run_dir=sys.argv[1], experiments={"enabled": False})
Gateway(plain)
assert not [name for name in sys.modules if name.startswith((*PARTS, "serve.tracing."))], "loaded"
sys.meta_path.insert(0, Missing())
Gateway(plain)
try:
    Gateway(plain.model_validate({**plain.model_dump(), "tracing": {"endpoint": "http://collector:4317"}}))
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow
def test_off_the_library_is_neither_loaded_nor_needed(tmp_path: Path) -> None:
    """A gateway is made without it; where it is wanted and missing, the message tells how to install it."""
    done = subprocess.run(
        [sys.executable, "-c", OFF, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "tracing.endpoint is 'http://collector:4317', and opentelemetry.sdk is not installed: "
        "pip install 'attnserve[tracing]'\n"
    )


@pytest.mark.parametrize(
    "endpoint",
    ["collector:4317", "http://collector", "ftp://collector:4317", "http://me:secret@collector:4317"],
)
def test_an_endpoint_is_a_scheme_a_host_and_a_port(endpoint: str) -> None:
    """Anything else is refused by name, and not shown: there may be a password in it."""
    with pytest.raises(ConfigError) as refused:
        read_config(None, {"ATTNSERVE_TRACING_ENDPOINT": endpoint})
    assert str(refused.value) == (
        "configuration: tracing.endpoint: must be http://HOST:PORT or https://HOST:PORT, and nothing more"
    )


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "nan"])
def test_a_share_is_between_nothing_and_all(ratio: str) -> None:
    """The setting is named where it is not."""
    with pytest.raises(ConfigError, match=r"tracing\.sample_ratio"):
        read_config(None, {"ATTNSERVE_TRACING_SAMPLE_RATIO": ratio})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "best"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "99999"),
    ],
)
async def test_a_variable_of_the_library_that_makes_no_sense_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The gateway does not start, and says in a sentence where to look."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SetupError, match=r"^tracing: a variable OTEL_\* cannot be used: "):
        async with traced_gateway(tmp_path, "http://127.0.0.1:1"):
            pass
