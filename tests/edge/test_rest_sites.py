"""The guard against other sites: what a browser sends for their pages is refused, everything else passes."""

from __future__ import annotations

import itertools

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import ForbiddenError
from serve.edge.rest_sites import check_site
from tests.edge.fakes import FakeService

INFER = "/v2/models/digits/infer"
BODY = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["png"]}]}
CHANGING = [
    ("POST", INFER),
    ("POST", "/v2/repository/models/digits/unload"),
    ("POST", "/v1/experiments"),
    ("PUT", "/v1/aliases/production"),
    ("PATCH", "/v1/experiments/one"),
    ("POST", "/no/such/path"),
    ("DELETE", "/"),
]
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "something new"},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://gateway"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://gateway:8080"},
    {"Origin": "http://gateway.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[::1"},
]
OURS: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://public.example"},  # a proxy has changed Host
    {"Origin": "http://gateway"},
    {"Origin": "HTTPS://GATEWAY"},
]


async def test_what_another_site_has_sent_is_refused(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """Whatever it asks, and before anything of it is done; the message says what to do."""
    for (verb, path), headers in itertools.product(CHANGING, FOREIGN):
        answer = await rest.request(verb, path, headers=headers, json=BODY)
        assert answer.status_code == 403, (path, headers)
        assert answer.json().keys() == {"error"}
        assert "use a client that is no browser" in answer.json()["error"]
    assert (fake.requests, fake.calls) == ([], [])


async def test_whoever_is_not_another_site_passes(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """Clients that are no browsers, and our own page, at a public name too."""
    for headers in OURS:
        assert (await rest.post(INFER, json=BODY, headers=headers)).status_code == 200, headers
        load = await rest.post("/v2/repository/models/digits/load", headers=headers)
        assert load.status_code == 200, headers
    assert len(fake.requests) == len(OURS)


def test_a_proxy_that_changes_host_is_named() -> None:
    """Over plain HTTP browsers send no Sec-Fetch-Site: our own page is then told apart by Host alone."""
    behind = [(b"host", b"127.0.0.1:8000"), (b"origin", b"http://gateway.lan")]
    with pytest.raises(ForbiddenError, match="the proxy before it must pass Host on"):
        check_site(behind)
    check_site([(b"host", b"gateway.lan"), behind[1]])


async def test_reading_is_not_hindered(rest: httpx.AsyncClient) -> None:
    """A link from elsewhere opens the page, and another site cannot read what it loads."""
    for headers in FOREIGN:
        for verb in ("GET", "HEAD"):
            assert (await rest.request(verb, "/", headers=headers)).status_code == 200
            assert (await rest.request(verb, "/v2", headers=headers)).status_code == 200
        preflight = await rest.request("OPTIONS", INFER, headers=headers)
        assert preflight.status_code == 405
        assert not [name for name in preflight.headers if name.startswith("access-control")]


async def test_a_refusal_is_counted_or_taken_down(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """Of an inference in the metrics, of an act in the audit, with its path and the caller's address."""
    evil = {"Sec-Fetch-Site": "cross-site"}
    await rest.post(INFER, json=BODY, headers=evil)
    assert [(protocol, type(error)) for protocol, error in fake.refusals] == [("http", ForbiddenError)]
    assert fake.denials == []
    await rest.post("/v2/repository/models/digits/unload", headers=evil)
    ((act, _),) = fake.denials
    assert (act.name, act.target) == ("cross_site_request", "/v2/repository/models/digits/unload")
    assert (act.protocol, act.principal, act.peer) == ("http", "", "127.0.0.1:123")
    assert len(fake.refusals) == 1


NAMES = [b"sec-fetch-site", b"origin", b"host", b"accept"]
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=30)))
HOSTS = st.from_regex(r"[a-z0-9-]{1,10}(\.[a-z]{2,5})?(:[0-9]{1,5})?", fullmatch=True)


@given(headers=HEADERS, site=st.sampled_from([b"cross-site", b"same-site"]))
def test_a_word_for_another_site_cannot_be_talked_away(
    headers: list[tuple[bytes, bytes]], site: bytes
) -> None:
    """Whatever else stands in the headers, and nothing in them breaks the guard."""
    with pytest.raises(ForbiddenError):
        check_site([*headers, (b"sec-fetch-site", site)])
    with pytest.raises(ForbiddenError):
        check_site([(b"sec-fetch-site", site), *headers])


@given(ours=HOSTS, theirs=HOSTS, scheme=st.sampled_from(["http", "https", "HTTP"]))
def test_an_origin_is_ours_where_its_host_is(ours: str, theirs: str, scheme: str) -> None:
    """Port and all; the scheme is the proxy's business."""
    headers = [(b"host", ours.encode()), (b"origin", f"{scheme}://{theirs}".encode())]
    if theirs == ours:
        check_site(headers)
        return
    with pytest.raises(ForbiddenError):
        check_site(headers)


@given(ours=HOSTS, scheme=st.sampled_from(["http", "https"]))
def test_our_own_origin_passes(ours: str, scheme: str) -> None:
    """As a browser without Sec-Fetch-Site sends it."""
    check_site([(b"origin", f"{scheme}://{ours}".encode()), (b"host", ours.upper().encode())])
