"""A small client of the gateway's experiments, over REST, for our own commands."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from serve.client import (
    TIMEOUT_S,
    AddressError,
    ClientError,
    TlsFiles,
    UnreachableError,
    check_address,
    public_error,
    tls_context,
)

Json = dict[str, Any]

ALL = "/v1/experiments"
ALIASES = "/v1/aliases"
# Who is told to come back later does so, some times, and does not wait longer than that.
TRIES = 5
MOST_WAIT_S = 10.0


class ExperimentClient:
    """Asks one gateway; every method raises `ClientError` when the gateway refuses.

    A change may be sent twice: what is so already stays as it is.
    """

    def __init__(self, http: httpx.Client, url: str) -> None:
        """Use an open client; `url` is for messages."""
        self._http = http
        self._url = url

    def plan(self, design: Mapping[str, Any], units_per_day: float | None) -> Json:
        """What a design would need; see `serve.core.planning.SizePlan`."""
        params = {} if units_per_day is None else {"units_per_day": f"{units_per_day:g}"}
        return self._json("POST", f"{ALL}:plan", json=design, params=params)

    def create(self, design: Mapping[str, Any], reason: str) -> Json:
        """Make a draft."""
        return self._json("POST", ALL, json={**design, "reason": reason})

    def list(self) -> list[Json]:
        """Every experiment in its newest version."""
        found: list[Json] = self._json("GET", ALL)["experiments"]
        return found

    def get(self, name: str) -> Json:
        """An experiment in its newest version."""
        return self._json("GET", _path(name))

    def patch(self, name: str, changes: Mapping[str, Any], reason: str, if_match: int | None) -> Json:
        """Change what is named, and nothing else."""
        body = {**changes, "reason": reason}
        return self._json("PATCH", _path(name), json=body, headers=_matching(if_match))

    def act(self, name: str, act: str, body: Mapping[str, Any], if_match: int | None) -> Json:
        """Start, ramp, pause, resume, promote, roll back or stop."""
        return self._json("POST", f"{_path(name)}:{act}", json=body, headers=_matching(if_match))

    def report(self, name: str) -> Json:
        """The verdict, and every figure behind it."""
        return self._json("GET", f"{_path(name)}/report")

    def report_html(self, name: str) -> bytes:
        """The same as a page."""
        return self._send("GET", f"{_path(name)}/report", params={"format": "html"}).content

    def audit(self, name: str) -> Sequence[Json]:
        """Every version, oldest first."""
        found: Sequence[Json] = self._json("GET", f"{_path(name)}/audit")["versions"]
        return found

    def assign(self, name: str, unit: str) -> Json:
        """What a unit would get, and why."""
        return self._json("GET", f"{_path(name)}/assign", params={"unit": unit})

    def outcomes(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[Json]:
        """Tell true labels by feedback tokens; an answer for each."""
        return self._told(name, "outcomes", rows)

    def labels(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[Json]:
        """Tell true labels by predictions; an answer for each."""
        return self._told(name, "labels", rows)

    def disagreements(self, name: str, *, unlabelled: bool, most: int) -> Sequence[Json]:
        """Images on which the arms disagree."""
        params = {"unlabelled": str(unlabelled).lower(), "limit": str(most)}
        found: Sequence[Json] = self._json("GET", f"{_path(name)}/disagreements", params=params)[
            "disagreements"
        ]
        return found

    def image(self, name: str, prediction: str, item: int) -> bytes:
        """A kept image, as it was sent."""
        return self._send("GET", f"{_path(name)}/images/{prediction}/{item}").content

    def table(self, name: str, file: str, params: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """A table, piece by piece.

        Args:
            name: The experiment's.
            file: pairs.csv, pairs.parquet or disagreements.csv.
            params: Of the query.
        """
        try:
            with self._http.stream("GET", f"{_path(name)}/{file}", params=params) as response:
                if not response.is_success:
                    response.read()
                    self._refuse(response)
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def aliases(self) -> Sequence[Json]:
        """Every alias, and where it points."""
        found: Sequence[Json] = self._json("GET", ALIASES)["aliases"]
        return found

    def put_alias(self, name: str, target: str, reason: str, if_match: int | None) -> Json:
        """Make an alias, or point it elsewhere."""
        body = {"target": target, "reason": reason}
        path = f"{ALIASES}/{quote(name, safe='')}"
        return self._json("PUT", path, json=body, headers=_matching(if_match))

    def metrics(self, url: str) -> str:
        """A page of metrics, which has an address of its own."""
        try:
            response = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise UnreachableError(f"{url}: {str(error) or type(error).__name__}") from None
        if not response.is_success:
            raise UnreachableError(f"{url}: {response.status_code}")
        return response.text

    def _told(self, name: str, what: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[Json]:
        found: Sequence[Json] = self._json("POST", f"{_path(name)}/{what}", json={what: list(rows)})[what]
        return found

    def _json(self, method: str, path: str, **more: Any) -> Json:  # noqa: ANN401  httpx's own
        response = self._send(method, path, **more)
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ClientError(f"{self._url}{path}: does not answer like a gateway; is it one?")
        return found

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401  as above
        for left in reversed(range(TRIES)):
            try:
                response = self._http.request(method, path, **more)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from None
            if response.is_success:
                return response
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS or not left:
                self._refuse(response)
            time.sleep(_wait_s(response))
        raise AssertionError("the last try returns or refuses")

    def _refuse(self, response: httpx.Response) -> None:
        unavailable = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
        kind = UnreachableError if unavailable else ClientError
        hint = _HINTS.get(response.status_code, "")
        raise kind(f"{self._url}: {response.status_code}: {public_error(response)}{hint}")

    def _unreachable(self, error: httpx.HTTPError) -> UnreachableError:
        return UnreachableError(f"{self._url}: {str(error) or type(error).__name__}")


@contextmanager
def experiments_at(url: str, token: str = "", tls: TlsFiles | None = None) -> Iterator[ExperimentClient]:
    """A client for as long as the context lasts; it connects with its first call.

    Args:
        url: http://host:port or https://host:port.
        token: Bearer token; "" sends none.
        tls: Whom to trust, and what to show; None: whom the libraries trust, and nothing.

    Raises:
        AddressError: The address has another form, or a file or the token cannot be used.
    """
    check_address(url, token)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressError(
            f"url is {url!r}: experiments are asked for over REST, http://host:port or https://host:port"
        )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    files = tls or TlsFiles()
    # Reading everybody's authorities takes a while, and nobody needs them for http.
    plain = parts.scheme == "http" and files == TlsFiles()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else tls_context(files)
    with httpx.Client(
        base_url=url,
        timeout=TIMEOUT_S,
        headers=headers,
        trust_env=False,
        verify=context,
    ) as http:
        yield ExperimentClient(http, url)


# What to do when the gateway says no, where its own words do not end with that.
_HINTS: Mapping[int, str] = {
    httpx.codes.CONFLICT: " (`attnserve experiment show NAME` says where an experiment stands)",
    httpx.codes.PRECONDITION_FAILED: "; look at the newest version with `attnserve experiment show NAME`, "
    "then ask again with its number in --if-match, or without",
}


def _path(name: str) -> str:
    return f"{ALL}/{quote(name, safe='')}"


def _matching(if_match: int | None) -> dict[str, str]:
    return {} if if_match is None else {"If-Match": f'"{if_match}"'}


def _wait_s(response: httpx.Response) -> float:
    """How long the gateway asks to wait, in seconds."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked) if asked.isdecimal() else 1.0, MOST_WAIT_S)
