"""Workers that come from elsewhere, such as other pods: the master waits for them, and starts none."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.running.launch import Job
from loadtests.running.plans import ScenarioError, scenario_of
from loadtests.running.wish import Wish


def test_the_master_starts_alone_and_listens_beyond_loopback(tmp_path: Path) -> None:
    """It waits for as many as it was told; Locust's own defaults are every interface and port 5557."""
    job = Job(
        locustfile=Path("locustfile.py"),
        arguments=(),
        seconds=1,
        workers=3,
        folder=tmp_path,
        remote_workers=True,
    )
    ((name, command),) = job.commands().items()
    assert name == "master"
    assert command[command.index("--expect-workers") + 1] == "3"
    assert "--master" in command
    assert not [word for word in command if word.startswith("--master-bind")]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (Wish(scenario="steady", rate=5, remote_workers=True), "needs --workers"),
        (Wish(scenario="steady", workers=2, remote_workers=True), "needs --rate or --shape"),
    ],
)
def test_what_does_not_go_with_them_is_refused(wish: Wish, says: str) -> None:
    """How many they are must be known, and a second run, to measure the rate, would find them gone."""
    with pytest.raises(ScenarioError, match=f"--remote-workers: {says}"):
        scenario_of(wish)
