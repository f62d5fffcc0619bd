"""The repository: which versions are known, which one answers, and when the server is ready."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from serve.core.card import ModelCard
from serve.core.catalog import IndexEntry, ModelState
from serve.core.errors import NotFoundError, UnavailableError
from serve.core.messages import ModelRef
from serve.metrics import Metrics
from serve.repository import Entry, Repository
from tests.service.house import CARD

NAME = CARD.ref.name


def card(version: str, name: str = NAME) -> ModelCard:
    """The card of some version."""
    return replace(CARD, ref=ModelRef(name=name, version=version))


def entry(version: str, state: ModelState = ModelState.READY, name: str = NAME) -> Entry:
    """A version in some state, its card known when it is ready."""
    known = card(version, name) if state is ModelState.READY else None
    return Entry(ref=ModelRef(name=name, version=version), state=state, card=known)


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where the metrics of the test are."""
    return CollectorRegistry()


@pytest.fixture
def repository(registry: CollectorRegistry) -> Repository:
    """An empty repository in which one name is pinned."""
    return Repository(Metrics(registry), pinned=[NAME])


def test_the_highest_ready_version_is_the_default(repository: Repository) -> None:
    """Versions are numbers: 10 is above 9; one that is not ready does not answer."""
    for version in ("9", "10", "2"):
        repository.put(entry(version))
    repository.put(entry("11", ModelState.LOADING))
    assert repository.find(NAME).serving_card() == card("10")
    assert repository.find(NAME, "2").serving_card() == card("2")
    assert [known.ref.version for known in repository.entries(NAME)] == ["2", "9", "10", "11"]


def test_without_a_ready_version_the_highest_says_why(repository: Repository) -> None:
    """It is known, so that the answer is "not now" and not "never heard of"."""
    repository.put(entry("1", ModelState.UNLOADING))
    repository.put(
        Entry(ref=ModelRef(name=NAME, version="2"), state=ModelState.UNAVAILABLE, reason="no memory")
    )
    message = "'digits_se' version 2 is not ready, it is unavailable: no memory"
    with pytest.raises(UnavailableError, match=message) as raised:
        repository.find(NAME).serving_card()
    assert raised.value.retry_after_s == 1.0


def test_a_pinned_version_is_the_default(registry: CollectorRegistry) -> None:
    """Whatever else is ready: while it is not, or not known, nothing else answers."""
    repository = Repository(Metrics(registry), pinned=[NAME], default_versions={NAME: "1", "other": "3"})
    repository.put(entry("2"))
    with pytest.raises(UnavailableError, match=r"version 1 is not ready, .* it is the pinned default"):
        repository.find(NAME).serving_card()
    assert not repository.all_ready()
    repository.put(entry("1", ModelState.LOADING))
    assert repository.find(NAME).state is ModelState.LOADING
    repository.put(entry("1"))
    assert repository.find(NAME).serving_card() == card("1")
    assert repository.find(NAME, "2").serving_card() == card("2")
    assert repository.all_ready()
    with pytest.raises(NotFoundError, match="model 'other' is not found"):
        repository.find("other")


def test_newer_versions_are_counted_when_ready(repository: Repository) -> None:
    """By number, those of the same model only."""
    for known in (entry("9"), entry("10"), entry("11", ModelState.LOADING), entry("12", name="other")):
        repository.put(known)
    counts = [repository.newer(ModelRef(name=NAME, version=version)) for version in ("1", "9", "10")]
    assert counts == [2, 1, 0]


def test_a_version_that_is_removed_is_not_known(repository: Repository, registry: CollectorRegistry) -> None:
    """It is in no index and has no readiness; whoever listens hears of it."""
    repository.put(entry("1", ModelState.UNAVAILABLE))
    heard: list[str] = []
    repository.on_change = heard.append
    repository.remove(ModelRef(name=NAME, version="1"))
    assert repository.index() == ()
    assert registry.get_sample_value("attnserve_model_ready", {"model": NAME, "version": "1"}) is None
    assert heard == [NAME]


def test_what_is_not_known_is_not_found(repository: Repository) -> None:
    """The message names the model, or the version asked for and those that are known."""
    repository.put(entry("1"))
    repository.put(entry("3"))
    with pytest.raises(NotFoundError, match="model 'resnet' is not found"):
        repository.find("resnet")
    with pytest.raises(NotFoundError, match="model '' is not found"):
        repository.find("")
    with pytest.raises(NotFoundError, match="has no version '2'; known: 1, 3"):
        repository.find(NAME, "2")
    assert repository.get(ModelRef(name=NAME, version="2")) is None


def test_a_card_stays_known_when_the_version_goes(repository: Repository) -> None:
    """An unloaded version can still be described, and no longer answers."""
    repository.put(entry("1"))
    repository.put(entry("1", ModelState.UNAVAILABLE))
    assert repository.find(NAME).known_card() == card("1")
    with pytest.raises(UnavailableError):
        repository.find(NAME).serving_card()


def test_the_server_is_ready_when_every_pinned_model_is(repository: Repository) -> None:
    """One ready version is enough for a model; names that are not pinned do not matter."""
    assert not repository.all_ready()
    repository.put(entry("1", ModelState.UNAVAILABLE))
    repository.put(entry("2"))
    repository.put(entry("1", ModelState.UNAVAILABLE, name="other"))
    assert repository.all_ready()
    repository.pinned.add("other")
    assert not repository.all_ready()


def test_before_anything_is_pinned_nothing_is_ready(registry: CollectorRegistry) -> None:
    """A server that does not know its models yet must not be sent requests."""
    assert not Repository(Metrics(registry)).all_ready()


def test_the_index_lists_every_version(repository: Repository) -> None:
    """By name and version, or only the ready ones."""
    repository.put(entry("2"))
    repository.put(entry("1", ModelState.LOADING))
    repository.put(entry("1", name="a"))
    ready, two = (
        IndexEntry(name=name, version=v, state=ModelState.READY) for name, v in (("a", "1"), (NAME, "2"))
    )
    loading = IndexEntry(name=NAME, version="1", state=ModelState.LOADING)
    assert repository.index() == (ready, loading, two)
    assert repository.index(ready_only=True) == (ready, two)


def test_a_model_that_nobody_has_shown_yet_is_not_ready_in_the_metrics(
    repository: Repository, registry: CollectorRegistry
) -> None:
    """Without a version, until one is known and again when none is: else an alert had nothing to see."""

    def shown(version: str) -> float | None:
        return registry.get_sample_value("attnserve_model_ready", {"model": NAME, "version": version})

    repository.put(entry("1"))
    repository.expect("other", "no engine has been reached yet")
    assert (shown(""), shown("1")) == (None, 1)
    repository.expect(NAME, "no engine has been reached yet")
    assert (shown(""), shown("1")) == (None, 1)
    repository.remove(ModelRef(name=NAME, version="1"))
    assert (shown(""), shown("1")) == (0, None)
    repository.put(entry("2"))
    assert (shown(""), shown("2")) == (None, 1)


def test_readiness_shows_in_the_metrics_and_is_told(
    repository: Repository, registry: CollectorRegistry
) -> None:
    """The gauge follows the state, and whoever listens hears the model's name at each change."""
    heard: list[str] = []
    repository.on_change = heard.append
    shown = []
    for state in (ModelState.LOADING, ModelState.READY, ModelState.UNLOADING):
        repository.put(entry("1", state))
        shown.append(registry.get_sample_value("attnserve_model_ready", {"model": NAME, "version": "1"}))
    assert shown == [0, 1, 0]
    assert heard == [NAME] * 3
