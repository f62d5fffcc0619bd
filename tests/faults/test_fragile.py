"""An image that ends every worker that looks at it, and workers without memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.e2e.oip import RefusedError, ask, grpc_raw, rest_binary
from tests.e2e.processes import wait_until
from tests.e2e.stacks import Stack, series_name
from tests.faults.engines import Engine, attempts, start_all, wait_answers
from tests.faults.fragile import fragile_store, out_of_memory, poisoned
from tests.faults.stage import MODEL, Stage, assert_none_lost
from tests.faults.table import Row

pytestmark = pytest.mark.slow

Pair = tuple[Engine, Engine]
BACK_S = 60.0
NEIGHBOURS = 7


@pytest.fixture(scope="module")
def fragile(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two TorchServes whose handler can be broken from outside."""
    store = fragile_store(stage.demo.archives / f"{MODEL}.mar", tmp_path_factory.mktemp("fragile"))
    engines = Engine(store, MODEL), Engine(store, MODEL)
    with ExitStack() as life:
        for engine in engines:
            life.callback(engine.end)
        start_all(engines)
        yield engines


@pytest.fixture
def pair(fragile: Pair) -> Pair:
    """Both of them in good health."""
    for engine in fragile:
        engine.mend()
    return fragile


def ask_together(stack: Stack, pair: Pair, images: list[bytes]) -> list[Future[list[str]]]:
    """Ask one image a request, all in one batch: they gather while both workers are held."""
    with ThreadPoolExecutor(len(images) + 2) as pool, ExitStack() as held:
        for engine in pair:
            held.enter_context(engine.frozen())
        occupied = [pool.submit(labels, stack, images[1], number) for number in range(2)]
        inflight = series_name("attnserve_inflight_requests", model=MODEL)
        wait_until(lambda: stack.series()[inflight] == len(occupied), 10, "both workers are occupied")
        futures = [pool.submit(labels, stack, image, number) for number, image in enumerate(images)]
        arrived = len(occupied) + len(images)
        wait_until(lambda: stack.series()[inflight] == arrived, 10, "all requests have arrived")
        held.close()
    return futures


def labels(stack: Stack, image: bytes, number: int) -> list[str]:
    """Ask what one image shows."""
    return (grpc_raw, rest_binary)[number % 2](stack, ask(MODEL, image)).labels


def test_a_poisoned_image_fails_alone(stage: Stage, pair: Pair) -> None:
    """Its neighbours in the batch are answered; asked again, it is refused without another worker lost."""
    images = stage.demo.images
    poison = poisoned(images[0])
    with stage.gateway([engine.target for engine in pair], settings={"patience_s": 10}) as stack:
        wait_until(lambda: len(stack.events("model ready")) == 2, 30, "both engines hold the model")
        expected = [labels(stack, image, 0) for image in images[1 : NEIGHBOURS + 1]]
        first, *others = ask_together(stack, pair, [poison, *images[1 : NEIGHBOURS + 1]])
        assert [other.result() for other in others] == expected
        with pytest.raises(RefusedError, match=r"image|worker") as refused:
            first.result()
        assert refused.value.status == "INVALID_ARGUMENT"
        for engine in pair:
            wait_until(engine.is_ready, BACK_S, "a new worker")
        workers = [engine.worker().pid for engine in pair]
        lost = sum(attempts(stack, engine, "lost") for engine in pair)
        for number in range(4):
            with pytest.raises(RefusedError) as again:
                labels(stack, poison, number)
            assert again.value.status == ("INVALID_ARGUMENT", 400)[number % 2]
        assert [engine.worker().pid for engine in pair] == workers
        assert sum(attempts(stack, engine, "lost") for engine in pair) == lost


def test_a_poisoned_image_under_load(stage: Stage, pair: Pair) -> None:
    """Nobody else notices more than a delay."""
    with stage.scene(pair) as scene:
        lost = sum(attempts(scene.stack, engine, "lost") for engine in pair)
        for number in range(4):
            with pytest.raises(RefusedError) as refused:
                labels(scene.stack, poisoned(stage.demo.images[0]), number)
            assert refused.value.status in {"INVALID_ARGUMENT", 400}
        back_s = max(wait_answers(scene.stack, engine, BACK_S) for engine in pair)
        scene.go_on()
        ledger = scene.end()
        lost = sum(attempts(scene.stack, engine, "lost") for engine in pair) - lost
    assert_none_lost(ledger)
    assert lost <= 5
    stage.rows.append(
        Row(
            fault="image that ends every worker that looks at it",
            how=f"asked for 4 times; {lost:g} workers lost; requests of the others",
            times=4,
            engines=2,
            ledger=ledger,
            well_after_s=back_s,
        )
    )


def test_a_worker_is_out_of_memory(stage: Stage, pair: Pair) -> None:
    """Its batches are answered by the other engine; with memory again it is used again."""
    victim, dry_s = pair[1], max(3.0, stage.phase_s)
    with stage.scene(pair) as scene:
        with out_of_memory(victim.worker()):
            scene.load.go_on(dry_s)
        back_s = wait_answers(scene.stack, victim, BACK_S)
        scene.go_on()
        ledger = scene.end()
        lost = attempts(scene.stack, victim, "lost")
    assert lost > 0
    assert_none_lost(ledger)
    stage.rows.append(
        Row(
            fault="worker out of memory",
            how=f"RLIMIT_AS for {dry_s:g} s: every batch there raises MemoryError",
            times=1,
            engines=2,
            ledger=ledger,
            well_after_s=back_s,
        )
    )


def test_the_only_worker_is_out_of_memory(stage: Stage, pair: Pair) -> None:
    """Meanwhile all hear UNAVAILABLE; afterwards every image is answered: none is held to be poisoned."""
    engine, dry_s = pair[0], max(3.0, stage.phase_s)
    with stage.scene([engine]) as scene:
        with out_of_memory(engine.worker()):
            scene.load.go_on(dry_s)
        back_s = wait_answers(scene.stack, engine, BACK_S)
        for image in stage.demo.images:
            labels(scene.stack, image, 0)
        scene.go_on()
        ledger = scene.end()
        lost = attempts(scene.stack, engine, "lost")
    assert ledger.wrong == []
    assert {one.outcome for one in ledger.failed} <= {"UNAVAILABLE", "503"}, ledger.outcomes
    assert ledger.worst_s < dry_s
    assert lost > 0
    stage.rows.append(
        Row(
            fault="the only worker out of memory",
            how=f"RLIMIT_AS for {dry_s:g} s: every batch there raises MemoryError",
            times=1,
            engines=1,
            ledger=ledger,
            well_after_s=back_s,
            allowed="all UNAVAILABLE / 503",
        )
    )
