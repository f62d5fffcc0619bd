"""The client of experiments against answers that are made up: what it sends, and what it makes of trouble."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from serve.client import AddressError, ClientError, UnreachableError
from serve.experiment_client import TRIES, ExperimentClient, experiments_at
from serve.terminal.files import InputError
from serve.terminal.saving import save

URL = "http://gateway"


def _client(answer: Callable[[httpx.Request], httpx.Response]) -> ExperimentClient:
    return ExperimentClient(httpx.Client(transport=httpx.MockTransport(answer), base_url=URL), URL)


def test_only_what_is_named_is_sent() -> None:
    """A change carries its keys, its reason, and the version that was seen, as ETag has it."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    client = _client(answer)
    client.patch("se or eca", {"ramp": 5}, "slowly", 3)
    client.act("x", "promote", {"reason": "good"}, None)
    assert json.loads(seen[0].content) == {"ramp": 5, "reason": "slowly"}
    assert seen[0].headers["if-match"] == '"3"'
    assert seen[0].url.raw_path == b"/v1/experiments/se%20or%20eca"
    assert "if-match" not in seen[1].headers
    assert seen[1].url.path == "/v1/experiments/x:promote"


def test_who_is_told_to_wait_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that the gateway names, and not for ever."""
    waits: list[float] = []
    monkeypatch.setattr("serve.experiment_client.time.sleep", waits.append)
    left = iter([429, 429, 200])
    busy = {"Retry-After": "3"}
    client = _client(lambda _: httpx.Response(next(left), json={"outcomes": []}, headers=busy))
    assert client.outcomes("x", []) == []
    assert waits == [3.0, 3.0]
    with pytest.raises(ClientError, match="429: too many"):
        _client(lambda _: httpx.Response(429, json={"error": "too many"})).list()
    assert len(waits) == 2 + TRIES - 1


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            httpx.Response(503, json={"error": "the store is away"}),
            UnreachableError,
            "503: the store is away",
        ),
        (httpx.Response(403, json={"error": "needs operate"}), ClientError, "403: needs operate"),
        (httpx.Response(200, text="<html>"), ClientError, "does not answer like a gateway"),
        (httpx.Response(200, json=[1]), ClientError, "does not answer like a gateway"),
        (httpx.Response(502, text="bad gateway"), ClientError, "502: bad gateway"),
    ],
)
def test_trouble_is_said_in_the_gateways_words(
    answer: httpx.Response, kind: type[ClientError], message: str
) -> None:
    """A store or a gateway that is away is unreachable; anything else is a refusal."""
    with pytest.raises(kind, match=message) as raised:
        _client(lambda _: answer).get("x")
    assert type(raised.value) is kind


def test_a_table_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    """What came of it is thrown away; so is what cannot be written."""

    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"prediction,item\n"
            raise httpx.ReadError("connection reset")

    client = _client(lambda _: httpx.Response(200, stream=Broken()))
    path = tmp_path / "pairs.csv"
    path.write_text("old")
    with pytest.raises(UnreachableError, match="connection reset"):
        save(path, client.table("x", "pairs.csv"))
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [("pairs.csv", "old")]
    with pytest.raises(InputError, match="cannot be written"):
        save(tmp_path / "nowhere" / "pairs.csv", [b""])


def test_addresses() -> None:
    """Experiments are asked for over REST."""
    for url in ("grpc://here:8001", "http://", "here:8000"):
        with pytest.raises(AddressError, match="over REST"), experiments_at(url):
            pass
