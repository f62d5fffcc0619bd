"""What a gateway process beside the first one is told: as the first, but for what only one may have."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from serve.config import ConfigError, read_config
from serve.core.errors import UnavailableError
from serve.sections import EngineConfig
from serve.siblings import Leader, sibling_document
from serve.token_file import FRESH_S, TokenFile

LEADER = Leader(
    http_port=8000,
    grpc_port=8001,
    engines=(EngineConfig(address="127.0.0.1:7070", models=("digits_se:1",), token_file=Path("/run/token")),),
)


def _config(tmp_path: Path, **settings: object) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({"run_dir": str(tmp_path / "run"), "processes": 3, **settings}))
    return file


def _sibling(tmp_path: Path, number: int, **settings: object) -> Path:
    first = read_config(_config(tmp_path, **settings), {})
    file = tmp_path / "sibling.yaml"
    file.write_text(yaml.safe_dump(sibling_document(first, LEADER, number)))
    return file


def test_it_has_the_first_ones_ports_engines_and_limits(tmp_path: Path) -> None:
    """It is a valid configuration of a gateway that joins, and what the operator set holds there, too."""
    config = read_config(_sibling(tmp_path, 2, max_request_images=7, batching={"max_batch_images": 5}), {})
    assert (config.http_port, config.grpc_port, config.engines) == (8000, 8001, LEADER.engines)
    assert (config.max_request_images, config.batching.max_batch_images) == (7, 5)
    assert config.share_ports
    assert config.processes == 1


def test_it_shares_the_store_of_experiments_and_nothing_else_that_is_written(tmp_path: Path) -> None:
    """The store and its keys are the first one's; run folder and audit file are its own."""
    first = read_config(_config(tmp_path), {})
    second, third = (read_config(_sibling(tmp_path, number), {}) for number in (2, 3))
    for config in (second, third):
        assert config.experiments_url == first.experiments_url
        assert config.experiment_keys_path == first.experiment_keys_path
    assert len({one.run_dir for one in (first, second, third)}) == 3
    assert len({one.audit_path for one in (first, second, third)}) == 3


@pytest.mark.parametrize(("first", "third"), [(8002, 8004), (0, 0)])
def test_its_metrics_port_is_its_own(tmp_path: Path, first: int, third: int) -> None:
    """The next ones after the first process's, or any where that picks one."""
    assert read_config(_sibling(tmp_path, 3, metrics_port=first), {}).metrics_port == third


def test_it_has_ended_before_the_first_one_closes(tmp_path: Path) -> None:
    """Its drain fits into what the first process waits for answers."""
    assert read_config(_sibling(tmp_path, 2, drain_timeout_s=10.0), {}).drain_timeout_s == 6.0


def test_without_experiments_it_needs_no_keys(tmp_path: Path) -> None:
    """A file that nobody makes is not asked for."""
    config = read_config(_sibling(tmp_path, 2, experiments={"enabled": False}), {})
    assert config.experiments.keys_file is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_store_watch_s": 5}, "change models by a restart"),
        ({"processes": 0}, "processes"),
        ({"processes": 1, "share_ports": True}, "share_ports needs engines"),
        (
            {
                "share_ports": True,
                "engines": [{"address": "127.0.0.1:7070", "models": ["m"]}],
                "http_port": 0,
            },
            "share_ports needs http_port and grpc_port",
        ),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    """With the setting's name and the rule."""
    with pytest.raises(ConfigError, match=message):
        read_config(_config(tmp_path, **settings), {})


def test_a_replaced_token_is_taken_up(tmp_path: Path) -> None:
    """Within half a second, and the file is not read for every call."""
    file, now = tmp_path / "token", 0.0
    file.write_text("first\n")
    token = TokenFile(file, lambda: now)
    assert token() == "first"
    file.write_text("second\n")
    assert token() == "first"
    now = FRESH_S + 0.01
    assert token() == "second"


@pytest.mark.parametrize("content", [None, "", "\n", "tökén"])
def test_without_a_token_the_engine_is_not_there(tmp_path: Path, content: str | None) -> None:
    """Missing, empty or garbled, it means an engine that cannot be called now; the message names the file."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UnavailableError, match=r"token_file: .*token"):
        TokenFile(file)()
