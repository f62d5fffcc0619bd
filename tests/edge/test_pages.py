"""The pages for people: whole, and self-contained."""

from __future__ import annotations

import re

import httpx
import pytest

PAGES = ("/", "/docs")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_and_all_that_it_loads_is_ours(rest: httpx.AsyncClient, path: str) -> None:
    """Every file that a page names is served from here, and its policy allows no other place."""
    page = await rest.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "http" not in policy
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        if not source.startswith("data:"):
            assert (await rest.get(f"/{source}")).status_code == 200, source


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_has_no_script_in_it(rest: httpx.AsyncClient, path: str) -> None:
    """Scripts are files, as the policy wants it."""
    page = (await rest.get(path)).text
    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert re.findall(r"\son\w+=", page) == []


async def test_the_api_is_described(rest: httpx.AsyncClient) -> None:
    """The description names every route of the protocol, its verbs and the one shape of errors."""
    document = (await rest.get("/openapi.json")).json()
    infer = document["paths"]["/v2/models/{model}/versions/{version}/infer"]["post"]
    assert document["openapi"].startswith("3.0.")
    assert set(infer["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert "422" not in infer["responses"]
    operations = [operation for verbs in document["paths"].values() for operation in verbs.values()]
    assert all(operation["responses"]["default"]["description"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) == 48


@pytest.mark.parametrize("asked", ["bytes=9-1", "bytes=99999999-", "lines=1-2", "x", "bytes=0-3"])
@pytest.mark.parametrize("path", [*PAGES, "/page/app.js"])
async def test_a_page_is_answered_whole(rest: httpx.AsyncClient, path: str, asked: str) -> None:
    """Whatever Range asks for, and it says so."""
    whole, part = await rest.get(path), await rest.get(path, headers={"Range": asked})
    assert (part.status_code, part.content) == (200, whole.content)
    assert part.headers["accept-ranges"] == "none"
