"""TorchServes to hurt: they can be killed, frozen and slowed, and come back to the same place."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from tests.e2e.processes import marked, wait_until
from tests.e2e.stacks import Stack, series_name
from tests.e2e.stock import START_TIMEOUT_S, Place, StockTorchServe, stock_torchserve

BEAT_S = 0.1
HELD_S = 0.1


class Engine:
    """A stock TorchServe with one model, at one place as often as it is started."""

    def __init__(self, store: Path, model: str, host: str = "127.0.0.1", *, grpc_port: int = 0) -> None:
        self.model = model
        self._store = store
        free = Place.free(host)
        self._place = replace(free, inference_grpc=grpc_port or free.inference_grpc)
        self._life = ExitStack()
        self._running: StockTorchServe | None = None

    @property
    def host(self) -> str:
        """The address without the port."""
        return self._place.host

    @property
    def target(self) -> str:
        """Where a gateway finds it; also its name in the metrics."""
        return f"{self._place.host}:{self._place.inference_grpc}"

    @property
    def server(self) -> StockTorchServe:
        """The process that runs now, or ran last."""
        assert self._running is not None
        return self._running

    def start(self) -> None:
        """Start it, and wait until its worker is ready."""
        self._running = self._life.enter_context(stock_torchserve(self._store, self.model, place=self._place))

    def end(self) -> None:
        """Kill all that is left of it."""
        self._life.close()

    def mend(self) -> None:
        """Make it whole, whatever was done to it."""
        for process in marked(self.server.mark):
            process.resume()
        if self.server.process.poll() is not None:
            self.end()
            self.start()
        wait_until(self.is_ready, START_TIMEOUT_S, f"engine {self.target} is ready")

    def is_ready(self) -> bool:
        """Whether TorchServe says that the worker is ready."""
        return self.server.is_ready((self.model,))

    def worker(self) -> psutil.Process:
        """Its only worker."""
        (worker,) = self.server.workers()
        return worker

    def kill_worker(self) -> None:
        """End the worker while it holds a batch: it is stopped first, so that its next one stays undone."""
        worker = self.worker()
        worker.suspend()
        time.sleep(HELD_S)
        worker.kill()

    def terminate(self) -> None:
        """Ask Java to end, as a rollout does."""
        self.server.process.send_signal(signal.SIGTERM)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Java and the worker do not run while this lasts; their connections stay."""
        processes = marked(self.server.mark)
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):  # TorchServe may have ended a worker meanwhile
                    process.resume()

    @contextmanager
    def slowed(self, times: float) -> Iterator[None]:
        """The worker runs for one part in `times` of each tenth of a second."""
        worker, ending = self.worker(), threading.Event()

        def beat() -> None:
            while not ending.is_set() and worker.is_running():
                worker.suspend()
                time.sleep(BEAT_S * (1 - 1 / times))
                worker.resume()
                time.sleep(BEAT_S / times)

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join(10)


def start_all(engines: Sequence[Engine]) -> None:
    """Start several at once."""
    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(Engine.start, engines))


def attempts(stack: Stack, engine: Engine, outcome: str = "ok") -> float:
    """Batches that an engine was sent and that ended so, by the gateway's own count."""
    labels = {"engine": engine.target, "model": engine.model, "outcome": outcome}
    return stack.series().get(series_name("attnserve_engine_attempts_total", **labels), 0.0)


def wait_answers(stack: Stack, engine: Engine, seconds: float, more: int = 5) -> float:
    """Wait until an engine has answered a few more batches; gives the time in seconds that this took."""
    began, before = time.monotonic(), attempts(stack, engine)
    wait_until(lambda: attempts(stack, engine) >= before + more, seconds, f"{engine.target} answers again")
    return time.monotonic() - began
