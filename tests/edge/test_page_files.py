"""The files of the page: of known kinds, compressed, kept until they change, and for this site alone."""

from __future__ import annotations

import gzip
import mimetypes
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from serve.edge.page_files import PageFiles
from serve.edge.pages import FOLDER, STYLES

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
PLAIN = {"Accept-Encoding": "identity"}
KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.suffix in KINDS)


def client(folder: Path) -> httpx.AsyncClient:
    """A client of the files of a folder."""
    app = Starlette(routes=[Mount("/page", PageFiles(folder))])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_every_file_has_its_kind_and_stays_with_us(
    rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the machine's own table says; scripts, styles and pictures, in folders as deep as they are."""
    monkeypatch.setattr(mimetypes, "types_map", {".js": "text/plain", ".css": "text/plain"})
    assert {Path(name).suffix for name in FILES} == set(KINDS)
    for name in FILES:
        answer = await rest.get(f"/page/{name}", headers=PLAIN)
        assert answer.content == (FOLDER / name).read_bytes(), name
        told = {key: answer.headers[key] for key in EXPECTED}
        assert told == EXPECTED | {"content-type": KINDS[Path(name).suffix]}, name


async def test_all_styles_are_asked_for_as_one(rest: httpx.AsyncClient) -> None:
    """None is forgotten; and a change of any of them shows."""
    assert set(STYLES) == {path.stem for path in (FOLDER / "style").iterdir()}
    style = await rest.get("/page/style.css", headers=PLAIN)
    assert style.content == b"".join((FOLDER / f"style/{name}.css").read_bytes() for name in STYLES)
    assert style.headers["content-type"] == KINDS[".css"]


async def test_a_joined_file_changes_with_its_parts(tmp_path: Path) -> None:
    """Asked for again, it is what the parts are now."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    app = Starlette(routes=[Mount("/page", PageFiles(tmp_path, {"all.css": ["a", "b"]}))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as asker:
        first = await asker.get("/page/all.css")
        (tmp_path / "b").write_text("changed")
        second = await asker.get("/page/all.css", headers={"If-None-Match": first.headers["etag"]})
    assert (first.text, second.status_code, second.text) == ("ab", 200, "achanged")


def test_the_first_view_is_fetched_at_once() -> None:
    """The document names every module that the first view needs, and no other: none waits for another."""
    needed, left = set[Path](), [FOLDER / "app.js", FOLDER / "playground/view.js"]
    while left:
        module = left.pop().resolve()
        if module not in needed:
            needed.add(module)
            imports = re.findall(
                r'^(?:import|export) [^;]*?from "(\.[^"]+)";$', module.read_text(), re.MULTILINE
            )
            left += [module.parent / name for name in imports]
    page = (FOLDER / "index.html").read_text()
    named = {*re.findall(r'rel="modulepreload" href="page/([^"]+)"', page), "app.js"}
    assert named == {path.relative_to(FOLDER).as_posix() for path in needed}


EXPECTED = {
    "cache-control": "no-cache",
    "content-type": "",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


async def test_the_page_itself_is_guarded(rest: httpx.AsyncClient) -> None:
    """No script but ours, no text becomes one, nobody frames it; no document is there without its policy."""
    page = await rest.get("/")
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    assert {key: page.headers[key] for key in EXPECTED} == EXPECTED | {
        "content-type": "text/html; charset=utf-8"
    }
    for path in (
        "/page/index.html",
        "/page/docs.html",
        "/docs/ui/index.html",
        "/docs/ui/oauth2-redirect.html",
    ):
        assert (await rest.get(path)).status_code == 404, path


async def test_scripts_and_styles_are_compressed_well(rest: httpx.AsyncClient) -> None:
    """As gzip's best level does it; and all that the first view may need is far below 300 kB."""
    total = 0
    for name in ("/", *(f"/page/{name}" for name in FILES)):
        async with rest.stream("GET", name, headers=GZIP) as answer:
            sent = b"".join([chunk async for chunk in answer.aiter_raw()])
        whole = (await rest.get(name, headers=PLAIN)).content
        if len(whole) >= 1024:
            assert answer.headers["content-encoding"] == "gzip", name
            assert gzip.decompress(sent) == whole
            assert len(sent) <= len(gzip.compress(whole, 9)), name
        assert answer.headers["vary"] == "Accept-Encoding"
        total += len(sent)
    assert total < 200_000


async def test_a_file_is_sent_anew_when_it_changes(tmp_path: Path) -> None:
    """Its tag is of its content: another file of the same date and size is another one."""
    file = tmp_path / "a.js"
    file.write_text("let a = 1;" * 200)
    async with client(tmp_path) as door:
        first = await door.get("/page/a.js", headers=GZIP)
        known = {**GZIP, "If-None-Match": f'"other", {first.headers["etag"]}'}
        again = await door.get("/page/a.js", headers=known)
        file.write_text("let b = 2;" * 200)
        changed = await door.get("/page/a.js", headers=known)
        assert (await door.post("/page/a.js")).status_code == 405
        file.unlink()
        assert (await door.get("/page/a.js", headers=known)).status_code == 404
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert (changed.status_code, changed.text) == (200, "let b = 2;" * 200)
    assert changed.headers["etag"] != first.headers["etag"]


async def test_a_file_has_one_name(tmp_path: Path) -> None:
    """Each is kept for good: by ways out of the folder and in again it would have names without end."""
    (tmp_path / "a.js").write_text("let a = 1;")
    async with client(tmp_path) as door:
        for path in (f"../{tmp_path.name}/a.js", f"{'../' * 40}{tmp_path.relative_to('/')}/a.js"):
            answer = await door.get(f"/page/{path.replace('..', '%2e%2e')}")
            assert answer.status_code == 404, path
        assert (await door.get("/page/./a.js")).status_code == 200


async def test_nothing_else_is_there(tmp_path: Path) -> None:
    """No other place, no folder, no document without a policy, no kind that is not the page's."""
    folder = tmp_path / "page"
    (folder / "lib").mkdir(parents=True)
    (tmp_path / "secret.js").write_text("secret")
    for name in ("page.html", "types.d.ts", ".env"):
        (folder / name).write_text("secret")
    (folder / "link.js").symlink_to(tmp_path / "secret.js")
    elsewhere = ["../secret.js", "%2e%2e/secret.js", "..%2fsecret.js", "/etc/passwd", "link.js"]
    nothing = ["lib", "lib/", "nothing.js", "%00.js", "x" * 5000 + ".js"]
    async with client(folder) as door:
        for path in (*elsewhere, *nothing, "page.html", "types.d.ts", ".env"):
            answer = await door.get(f"/page/{path}")
            assert answer.status_code == 404, path
            assert "secret" not in answer.text
        assert (await door.post("/page/link.js")).status_code == 405
