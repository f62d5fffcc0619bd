"""The TorchServe engine and its control against a real, supervised TorchServe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import pytest_asyncio

from serve.core.errors import EngineError
from serve.core.messages import Batch, Items, Kind, ModelRef
from serve.engines.torchserve import TorchServeControl, TorchServeEngine
from serve.engines.torchserve_link import ChannelOptions
from serve.supervisor import Supervisor

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = ModelRef(name="obedient", version="1")
PutArchive = Callable[..., str]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A running TorchServe that holds MODEL, and ways to talk to it."""

    supervisor: Supervisor
    engine: TorchServeEngine
    control: TorchServeControl
    put: PutArchive


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory, put_archive: PutArchive) -> AsyncIterator[Bench]:
    """Starts TorchServe once for this file."""

    async def load() -> None:
        await control.load(put_archive(supervisor.store, MODEL.name), timeout_s=60)

    supervisor = Supervisor(tmp_path_factory.mktemp("run"), on_started=load)
    engine = TorchServeEngine(
        "local",
        lambda: supervisor.endpoints.inference_grpc,
        lambda: supervisor.endpoints.inference_token,
    )
    control = TorchServeControl(
        "local",
        lambda: supervisor.endpoints.management_grpc,
        lambda: supervisor.endpoints.management_token,
        supervisor.tail,
    )
    await supervisor.start()
    watch = asyncio.create_task(supervisor.run())
    yield Bench(supervisor=supervisor, engine=engine, control=control, put=put_archive)
    await engine.close()
    await control.close()
    await supervisor.stop(8)
    await watch


def batch(*images: bytes) -> Batch:
    """A batch of one request."""
    return Batch(parts=(Items(kind=Kind.IMAGE, blobs=images),), outputs=frozenset({"probabilities"}))


async def failure(bench: Bench, *images: bytes, timeout_s: float = 20) -> EngineError:
    """The error that a batch fails with."""
    with pytest.raises(EngineError) as failed:
        await bench.engine.predict(MODEL, batch(*images), timeout_s)
    return failed.value


async def worker_pid(bench: Bench) -> int:
    """Process id of the worker; asks until there is one."""
    reply = await bench.engine.predict(MODEL, batch(b"who"), 20)
    return int(reply.outputs["probabilities"][0, 1])


async def first_answer(bench: Bench, seconds: float) -> int:
    """Process id of the worker that answers first, however many calls fail before."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(EngineError):
                return await worker_pid(bench)
            await asyncio.sleep(0.1)


async def until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.05)


async def test_images_are_predicted_in_order_over_all_parts(bench: Bench) -> None:
    """Parts of several requests travel in one batch, and rows come back in their order."""
    parts = tuple(Items(kind=Kind.IMAGE, blobs=blobs) for blobs in ((b"1", b"22"), (b"333",)))
    reply = await bench.engine.predict(MODEL, Batch(parts=parts, outputs=frozenset({"probabilities"})), 20)
    assert reply.status == (0, 0, 0)
    assert reply.outputs["probabilities"][:, 0].tolist() == [1, 2, 3]


async def test_a_bad_image_fails_alone(bench: Bench) -> None:
    """Its neighbours get their answers, and it gets a code and a message."""
    reply = await bench.engine.predict(MODEL, batch(b"1", b"BAD", b"333"), 20)
    assert (reply.status, reply.messages) == ((0, 3, 0), {1: "cannot decode"})
    np.testing.assert_array_equal(reply.outputs["probabilities"][:, 0], [1, np.nan, 3])


async def test_large_batches_pass(bench: Bench) -> None:
    """Thirty megabytes, over gRPC's and TorchServe's own default limits, are no trouble."""
    reply = await bench.engine.predict(MODEL, batch(*[bytes(10**6)] * 30), 20)
    assert reply.outputs["probabilities"][:, 0].tolist() == [10**6] * 30


async def test_a_model_describes_itself(bench: Bench) -> None:
    """With a version and without one, the card is the archive's signature."""
    card = await bench.engine.describe(MODEL, 20)
    assert (card.ref, card.labels, card.max_batch) == (MODEL, ("a", "b"), 4)
    assert await bench.engine.describe(ModelRef(name=MODEL.name, version=""), 20) == card


@pytest.mark.parametrize(
    "ref", [ModelRef(name="stranger", version="1"), ModelRef(name="obedient", version="9")]
)
async def test_an_unknown_model_is_missing(bench: Bench, ref: ModelRef) -> None:
    """Neither a name nor a version that is not there can be retried into being."""
    with pytest.raises(EngineError) as failed:
        await bench.engine.predict(ref, batch(b"1"), 20)
    assert (failed.value.reason, failed.value.retryable) == ("missing", False)


@pytest.mark.parametrize(
    ("image", "reason", "retryable"),
    [
        (b"RAISE:no", "lost", True),
        (b"GARBAGE", "garbled", True),
        (b"SHORT", "garbled", True),
        (b"REFUSE", "refused", False),
    ],
)
async def test_a_handler_that_misbehaves(bench: Bench, image: bytes, reason: str, retryable: bool) -> None:
    """An exception loses the batch, and an answer in a wrong format is never believed."""
    error = await failure(bench, b"1", image)
    assert (error.reason, error.retryable) == (reason, retryable)


async def test_an_output_that_was_asked_for_must_come(bench: Bench) -> None:
    """The handler of this archive knows only probabilities; their answer is not taken for logits."""
    asked = Batch(parts=batch(b"1").parts, outputs=frozenset({"probabilities", "logits"}))
    with pytest.raises(EngineError, match="cannot be read: it has no logits") as failed:
        await bench.engine.predict(MODEL, asked, 20)
    assert failed.value.reason == "garbled"


async def test_every_call_ends_in_time(bench: Bench) -> None:
    """The deadline holds although TorchServe knows nothing of it."""
    began = time.monotonic()
    error = await failure(bench, b"SLEEP:1", timeout_s=0.3)
    assert (error.reason, error.retryable) == ("timeout", True)
    assert time.monotonic() - began < 0.9
    await worker_pid(bench)  # the worker still sleeps: leave it free for the next test


async def test_a_full_queue_is_told_as_overload(bench: Bench) -> None:
    """One batch runs, one waits in the archive's queue of one, the others are turned away at once."""
    running = asyncio.create_task(bench.engine.predict(MODEL, batch(b"SLEEP:2"), 20))
    await asyncio.sleep(0.5)  # until the worker has taken it, its place in the queue is not free
    results = await asyncio.gather(
        *(bench.engine.predict(MODEL, batch(b"SLEEP:0.1"), 20) for _ in range(4)), return_exceptions=True
    )
    await running
    reasons = [result.reason for result in results if isinstance(result, EngineError)]
    assert reasons == ["overloaded"] * 3


async def test_a_message_over_the_limit_is_refused_here(bench: Bench) -> None:
    """It is not sent: TorchServe would hang up without a word, and a retry would do the same."""
    error = await failure(bench, bytes(ChannelOptions().max_message_bytes))
    assert (error.reason, error.retryable) == ("refused", False)


async def test_a_message_over_the_engines_limit_is_no_fault_of_its_worker(bench: Bench) -> None:
    """An engine that is configured for less hangs up without a word: that is told, and not repeated."""
    endpoints = bench.supervisor.endpoints
    options = ChannelOptions(max_message_bytes=2**30)
    engine = TorchServeEngine("small", endpoints.inference_grpc, lambda: endpoints.inference_token, options)
    with pytest.raises(EngineError, match="its max_request_size may be smaller") as failed:
        await engine.predict(MODEL, batch(bytes(ChannelOptions().max_message_bytes + 1)), 20)
    await engine.close()
    assert (failed.value.reason, failed.value.retryable) == ("refused", False)


async def test_without_its_token_nothing_is_answered(bench: Bench) -> None:
    """Both ports refuse calls without a token and with a wrong one."""
    endpoints = bench.supervisor.endpoints
    engine = TorchServeEngine("stranger", endpoints.inference_grpc)
    control = TorchServeControl("stranger", endpoints.management_grpc, lambda: endpoints.inference_token)
    try:
        with pytest.raises(EngineError) as failed:
            await engine.predict(MODEL, batch(b"1"), 20)
        assert (failed.value.reason, failed.value.retryable) == ("refused", True)
        with pytest.raises(EngineError, match="refused the call"):
            await control.unload(MODEL, 20)
    finally:
        await engine.close()
        await control.close()


async def test_a_caller_who_gives_up_cancels_the_call(bench: Bench) -> None:
    """A cancelled task stays cancelled, and is no engine error."""
    task = asyncio.create_task(bench.engine.predict(MODEL, batch(b"SLEEP:0.5"), 20))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await worker_pid(bench)


async def test_closing_an_engine_fails_its_running_calls(bench: Bench) -> None:
    """They end at once with an engine error, and so do later ones."""
    endpoints = bench.supervisor.endpoints
    engine = TorchServeEngine("short", endpoints.inference_grpc, lambda: endpoints.inference_token)
    task = asyncio.create_task(engine.predict(MODEL, batch(b"SLEEP:0.5"), 20))
    await asyncio.sleep(0.1)
    await engine.close()
    for call in (task, engine.predict(MODEL, batch(b"1"), 20)):
        with pytest.raises(EngineError) as failed:
            await call
        assert (failed.value.reason, failed.value.retryable) == ("unreachable", True)
    await worker_pid(bench)


async def test_nobody_there_is_unreachable() -> None:
    """A port on which nothing listens fails at once, not at the deadline."""
    engine = TorchServeEngine("nobody", "127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(EngineError) as failed:
        await engine.predict(MODEL, batch(b"1"), 20)
    await engine.close()
    assert (failed.value.reason, failed.value.retryable) == ("unreachable", True)
    assert time.monotonic() - began < 5


async def test_versions_come_and_go(bench: Bench) -> None:
    """Two versions answer side by side; each can be unloaded, also the one that TorchServe calls default."""
    first, second = (ModelRef(name="swap", version=version) for version in ("1", "2"))
    for ref in (first, second):
        await bench.control.load(bench.put(bench.supervisor.store, ref.name, ref.version), 60)
    with pytest.raises(EngineError, match="swap:1 is loaded already") as failed:
        await bench.control.load("swap-1.mar", 60)
    assert not failed.value.retryable
    assert [(await bench.engine.describe(ref, 20)).ref for ref in (first, second)] == [first, second]

    await bench.control.unload(first, 20)

    assert (await bench.engine.describe(ModelRef(name="swap", version=""), 20)).ref == second
    for _ in range(2):  # a version that is not there is no error
        await bench.control.unload(second, 20)
    with pytest.raises(EngineError, match="does not hold"):
        await bench.engine.describe(second, 20)


@pytest.mark.parametrize("complaint", [pytest.param("ValueError", marks=pytest.mark.slow), "RuntimeError"])
async def test_a_failed_load_says_why_and_leaves_nothing(bench: Bench, complaint: str) -> None:
    """The worker's own words are in the message; the archive can be mended and loaded."""
    name = complaint.lower()
    bench.put(bench.supervisor.store, name, config=f"complaint: {complaint}\n")
    with pytest.raises(EngineError, match=f"{name}:1 cannot be loaded: .*weights are missing") as failed:
        await bench.control.load(f"{name}-1.mar", 60)
    assert not failed.value.retryable

    await bench.control.load(bench.put(bench.supervisor.store, name), 60)

    await bench.control.unload(ModelRef(name=name, version="1"), 20)


async def test_an_archive_that_is_not_in_the_store_is_named(bench: Bench) -> None:
    """The message says what was not found."""
    with pytest.raises(EngineError, match=r"nowhere:1 cannot be loaded: Model not found at: nowhere-1\.mar"):
        await bench.control.load("nowhere-1.mar", 20)


@pytest.mark.parametrize("kill", [pytest.param("exit", marks=pytest.mark.slow), "SIGKILL"])
async def test_a_worker_that_dies_loses_one_batch(bench: Bench, kill: str) -> None:
    """The batch in flight may be retried, and the next one waits for the new worker."""
    pid = await worker_pid(bench)
    if kill == "exit":
        error = await failure(bench, b"EXIT:1")
    else:
        lost = asyncio.create_task(failure(bench, b"SLEEP:3"))
        await asyncio.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        error = await lost
    assert (error.reason, error.retryable) == ("lost", True)
    assert await worker_pid(bench) != pid


@pytest.mark.slow
async def test_a_frozen_worker_is_replaced(bench: Bench) -> None:
    """TorchServe ends it after the archive's responseTimeout, 5 s here; the batch may be tried elsewhere."""
    pid = await worker_pid(bench)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    error = await failure(bench, b"1", timeout_s=30)
    assert (error.reason, error.retryable) == ("lost", True)
    assert 4.5 < time.monotonic() - began < 15
    assert await first_answer(bench, seconds=30) != pid
    await until(lambda: not psutil.pid_exists(pid), 5)


@pytest.mark.slow  # tests/e2e/test_life.py kills one, too
async def test_a_killed_java_is_replaced(bench: Bench) -> None:
    """Calls fail as unreachable, then everything is as before, without anybody's help; no process is left."""
    java, worker = bench.supervisor.pid, await worker_pid(bench)
    assert java is not None
    lost = asyncio.create_task(failure(bench, b"SLEEP:3"))
    await asyncio.sleep(0.3)

    os.kill(java, signal.SIGKILL)

    error = await lost
    assert (error.reason, error.retryable) == ("unreachable", True)
    await until(lambda: not psutil.pid_exists(java) and not psutil.pid_exists(worker), 5)
    await until(lambda: bench.supervisor.pid is not None, 20)
    assert await first_answer(bench, seconds=30) != worker


async def test_the_log_is_readable(bench: Bench) -> None:
    """It has the workers' words and none of the lines that TorchServe writes for each request."""
    log = "\n".join(bench.supervisor.tail(1000))
    assert "Torch worker started." in log
    assert not re.search(r"Backend received inference|Backend response time|\[METRICS\]", log)
