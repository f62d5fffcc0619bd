"""What a gateway process beside the first one is told: as the first, but for what only one may have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import monotonic as clock

import pytest
import yaml

from serve import siblings
from serve.config import ConfigError, read_config
from serve.core.errors import UnavailableError
from serve.core.live import Place
from serve.sections import EngineConfig
from serve.siblings import Leader, Siblings, sibling_document
from serve.token_file import FRESH_S, TokenFile

LEADER = Leader(
    http_port=8000,
    grpc_port=8001,
    engines=(EngineConfig(address="127.0.0.1:7070", models=("digits_se:1",), token_file=Path("/run/token")),),
)


MORE = EngineConfig(address="127.0.0.1:7071", models=("digits_se:1",), token_file=Path("/run/token"))


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


def test_it_knows_which_one_it_is(tmp_path: Path) -> None:
    """Whoever asks it, and gets figures that are its own, is told; the first one knows by itself."""
    assert read_config(_config(tmp_path), {}).place == Place(index=1, of=3)
    assert read_config(_sibling(tmp_path, 2), {}).place == Place(index=2, of=3)


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
        ({"process_index": 3, "process_count": 2}, "process_index is 3, above process_count, 2"),
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


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30.0):
        while not true():  # noqa: ASYNC110  of another process
            await asyncio.sleep(0.01)


class _Kept:
    """Siblings whose program is a short one, and when each ended."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
        self.leader = LEADER
        self.ends: list[float] = []
        self.started: list[Leader] = []
        config = read_config(_config(tmp_path, processes=2, drain_timeout_s=5.0), {})
        monkeypatch.setattr(siblings, "_PROGRAM", program)
        monkeypatch.setattr(siblings, "PAUSE_S", 0.01)
        monkeypatch.setattr(siblings, "LONGEST_PAUSE_S", 0.05)
        monkeypatch.setattr(siblings.log, "warning", lambda _text, **_told: self.ends.append(clock()))
        monkeypatch.setattr(siblings, "_written", self._written)
        self.siblings = Siblings(config, lambda: self.leader)

    def _written(self, _config: object, leader: Leader, _number: int) -> Path:
        self.started.append(leader)
        if len(self.started) == 1:
            raise OSError(28, "No space left on device")
        return Path("gateway.yaml")


def test_one_that_cannot_start_is_tried_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pauses grow up to the longest, and a full disk does not end the first process."""
    kept = _Kept(tmp_path, monkeypatch, "raise SystemExit(2)")

    async def run() -> None:
        work = asyncio.create_task(kept.siblings.run())
        await _until(lambda: len(kept.ends) >= 4 or work.done())
        await kept.siblings.stop(5.0)
        await work

    asyncio.run(run())
    pauses = [after - before for before, after in pairwise(kept.ends)]
    assert all(pause >= least for pause, least in zip(pauses, (0.02, 0.04, 0.05), strict=False))


def test_it_is_started_anew_where_the_engine_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restarted TorchServe may be on other ports; one that would know less is left alone."""
    kept = _Kept(tmp_path, monkeypatch, "import time; time.sleep(60)")

    async def run() -> None:
        work = asyncio.create_task(kept.siblings.run())
        await _until(lambda: len(kept.siblings._running) == 1)  # noqa: SLF001
        kept.leader = Leader(http_port=8000, grpc_port=8001, engines=())
        await asyncio.sleep(0.1)
        kept.leader = Leader(http_port=8000, grpc_port=8001, engines=(MORE,))
        await _until(lambda: len(kept.started) == 3)
        await kept.siblings.stop(5.0)
        await work

    asyncio.run(run())
    assert [leader.engines for leader in kept.started] == [LEADER.engines, LEADER.engines, (MORE,)]
