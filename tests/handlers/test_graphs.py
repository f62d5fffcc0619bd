"""Recorded forward passes, on a stand-in for CUDA that records a call and does it again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from handlers.attn_graphs import BucketGraph, Recording, record_buckets

FEATURES = 3


def forward(x: Tensor) -> Tensor:
    """Two logits a row."""
    return torch.stack([x.sum(dim=1), x.prod(dim=1)], dim=1)


@dataclass
class FakeRecorder:
    """Replays into the first output, as a graph does; `slow` and `refused` say which sizes do not pay.

    Attributes:
        sizes: Batch sizes, as they were recorded.
    """

    slow: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    wrong: frozenset[int] = frozenset()
    sizes: list[int] = field(default_factory=list)
    replaying: bool = False

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Remember the call."""
        output = work()
        size = len(output)
        self.sizes.append(size)
        if size in self.refused:
            raise RuntimeError("operation not permitted\nmore")

        def replay() -> None:
            self.replaying = True
            output.copy_(work() + (1.0 if size in self.wrong else 0.0))

        return Recording(replay=replay, output=output)

    def seconds(self, work: Callable[[], object]) -> float:
        """A replay takes half the time, or hardly less for slow sizes."""
        self.replaying = False
        output = work()
        assert isinstance(output, Tensor)
        if not self.replaying:
            return 1.0
        return 0.98 if len(output) in self.slow else 0.5


def _sample(size: int) -> Tensor:
    return torch.rand(size, FEATURES) + 0.5


@given(rows=st.lists(st.integers(1, 4), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_a_replay_answers_for_its_own_batch_only(rows: list[int], seed: int) -> None:
    """Whatever ran before, and although buffers are shared, each answer is that of its rows, and stays."""
    generator = torch.Generator().manual_seed(seed)
    graph = BucketGraph(forward, torch.zeros(4, FEATURES), FakeRecorder())
    batches = [torch.randn(count, FEATURES, generator=generator) for count in rows]
    answers = [graph(batch) for batch in batches]
    for batch, answer in zip(batches, answers, strict=True):
        torch.testing.assert_close(answer, forward(batch))


def test_rows_beyond_the_batch_are_zero() -> None:
    """Nothing of an earlier batch takes part in a later one."""
    x = torch.zeros(4, FEATURES)
    graph = BucketGraph(forward, x, FakeRecorder())
    graph(torch.ones(4, FEATURES))
    graph(torch.ones(1, FEATURES))
    assert x.sum(dim=1).tolist() == [FEATURES, 0, 0, 0]


def test_the_largest_is_recorded_first() -> None:
    """The smaller ones then find memory that is free again."""
    recorder = FakeRecorder()
    graphs = record_buckets(forward, [1, 2, 8, 4], _sample, recorder)
    assert recorder.sizes == [8, 4, 2, 1]
    assert sorted(graphs) == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (FakeRecorder(slow=frozenset({4})), "no CUDA graph for batches of 4: it takes 980 ms, without 1e+03"),
        (
            FakeRecorder(refused=frozenset({4})),
            "no CUDA graph for batches of 4: it cannot be recorded: operation not permitted",
        ),
        (FakeRecorder(wrong=frozenset({4})), "no CUDA graph for batches of 4: its logits differ by 1"),
    ],
)
def test_what_does_not_pay_or_fails_is_left_out(
    faults: FakeRecorder, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are kept, and the log says why this one is not."""
    with caplog.at_level("INFO", logger="handlers.attn_graphs"):
        graphs = record_buckets(forward, [1, 4, 8], _sample, faults)
    assert sorted(graphs) == [1, 8]
    (message,) = caplog.messages
    assert message.startswith(words)
    assert "more" not in message


def test_threads_may_share_a_graph() -> None:
    """Copy, replay and copy of one caller are not mingled with another's."""
    graph = BucketGraph(forward, torch.zeros(4, FEATURES), FakeRecorder())
    wrong: list[Tensor] = []

    def ask(value: float) -> None:
        batch = torch.full((2, FEATURES), value)
        for _ in range(50):
            answer = graph(batch)
            if not torch.equal(answer, forward(batch)):
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(float(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
