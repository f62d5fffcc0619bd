"""Samples: images of one folder, and nothing else of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.access import Access
from serve.core.errors import NotFoundError
from serve.edge.limits import EdgeLimits
from serve.edge.page_parts import PageParts
from serve.edge.rest_api import build_rest_app
from serve.edge.samples import MOST_BYTES, MOST_SAMPLES, SampleFolder, is_name, media_type_of
from tests.edge.doors import as_service
from tests.edge.fakes import FakeService

# First bytes as the formats' own documents give them: ITU T.81 B.1, PNG 5.2, RFC 9649, GIF89a 17; and of BMP
# the file header of Microsoft's BITMAPFILEHEADER, whose reserved fields are 0.
IMAGES = {
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(20),
    "image/png": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
    "image/gif": b"GIF89a" + bytes(20),
    "image/bmp": b"BM\x40\0\0\0\0\0\0\0" + bytes(20),
}
PNG = IMAGES["image/png"]


def client(folder: Path | None) -> httpx.AsyncClient:
    """A client of a door that shows the samples of a folder."""
    app = build_rest_app(as_service(FakeService()), Access(), EdgeLimits(), page=PageParts(samples=folder))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_images_are_listed_with_what_they_show(tmp_path: Path) -> None:
    """By name; the label stands before the first dash, and where there is no dash nobody knows it."""
    for name in ("9-1.png", "10-a-b.jpeg", "photo.webp", "-x.gif"):
        (tmp_path / name).write_bytes(PNG)
    async with client(tmp_path) as door:
        listed = (await door.get("/v1/samples")).json()
    assert listed == {
        "samples": [
            {"name": "-x.gif", "label": None, "bytes": len(PNG)},
            {"name": "10-a-b.jpeg", "label": "10", "bytes": len(PNG)},
            {"name": "9-1.png", "label": "9", "bytes": len(PNG)},
            {"name": "photo.webp", "label": None, "bytes": len(PNG)},
        ]
    }


async def test_a_file_is_what_its_first_bytes_say(tmp_path: Path) -> None:
    """Whatever its name; and browsers are told not to think otherwise."""
    async with client(tmp_path) as door:
        for kind, content in IMAGES.items():
            (tmp_path / "7-1.html").write_bytes(content)
            answer = await door.get("/v1/samples/7-1.html")
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["content-type"] == kind
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


async def test_a_file_is_sent_once(tmp_path: Path) -> None:
    """As long as it does not change, whoever has it is told so."""
    file = tmp_path / "7-1.png"
    file.write_bytes(PNG)
    async with client(tmp_path) as door:
        first = await door.get("/v1/samples/7-1.png")
        known = {"If-None-Match": first.headers["etag"]}
        again = await door.get("/v1/samples/7-1.png", headers=known)
        file.write_bytes(PNG + b"more")
        changed = await door.get("/v1/samples/7-1.png", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert (changed.status_code, changed.content) == (200, PNG + b"more")


async def test_an_image_is_not_compressed_once_more(tmp_path: Path) -> None:
    """It would grow."""
    (tmp_path / "7-1.png").write_bytes(PNG + bytes(5000))
    async with client(tmp_path) as door:
        answer = await door.get("/v1/samples/7-1.png", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


async def test_nothing_else_is_there(tmp_path: Path) -> None:
    """No other place, no hidden or large file, no pipe, nothing that is no image; none is listed, either."""
    folder = tmp_path / "samples"
    (folder / "folder-1.png").mkdir(parents=True)
    (tmp_path / "secret-1.png").write_bytes(PNG)
    (folder / ".hidden-1.png").write_bytes(PNG)
    (folder / "link-1.png").symlink_to(tmp_path / "secret-1.png")
    (folder / "dangling-1.png").symlink_to(tmp_path / "nothing")
    (folder / "circle-1.png").symlink_to(folder / "circle-1.png")
    (folder / "text-1.png").write_text("BM is how a text may begin")
    (folder / "empty-1.png").touch()
    with (folder / "large-1.png").open("wb") as large:
        large.write(PNG)
        large.truncate(MOST_BYTES + 1)
    os.mkfifo(folder / "pipe-1.png")
    there = [path.name for path in folder.iterdir()]
    elsewhere = ["..", "%2e%2e%2fsecret-1.png", "..%5csecret-1.png", "nobody-1.png", "%00"]
    async with client(folder) as door:
        assert (await door.get("/v1/samples")).json() == {"samples": []}
        for name in (*there, *elsewhere):
            answer = await door.get(f"/v1/samples/{name}")
            assert (answer.status_code, answer.json().keys()) == (404, {"error"}), name


def test_nothing_stays_open(tmp_path: Path) -> None:
    """Of what is shown and of what is not: else a folder in the folder would end the gateway in time."""
    (tmp_path / "7-1.png").write_bytes(PNG)
    (tmp_path / "folder-1.png").mkdir()
    (tmp_path / "text-1.png").touch()
    os.mkfifo(tmp_path / "pipe-1.png")
    folder = SampleFolder(tmp_path)
    opened = Path("/proc/self/fd")
    before = set(opened.iterdir())
    assert [one.name for one in folder.samples()] == ["7-1.png"]
    assert folder.read("7-1.png").content == PNG
    for name in ("folder-1.png", "text-1.png", "pipe-1.png"):
        with pytest.raises(NotFoundError):
            folder.read(name)
    assert set(opened.iterdir()) == before


async def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    """As a volume of Kubernetes has them: each name links to a hidden folder beside it."""
    (tmp_path / "..2027").mkdir()
    (tmp_path / "..2027" / "7-1.png").write_bytes(PNG)
    (tmp_path / "..data").symlink_to("..2027")
    (tmp_path / "7-1.png").symlink_to("..data/7-1.png")
    folder = SampleFolder(tmp_path)
    assert [one.name for one in folder.samples()] == ["7-1.png"]
    assert folder.read("7-1.png").content == PNG


async def test_of_many_the_first_are_shown(tmp_path: Path) -> None:
    """By name, as many as a page can show."""
    names = [f"{number:03}-1.png" for number in range(MOST_SAMPLES + 20)]
    for name in names:
        (tmp_path / name).write_bytes(PNG)
    assert [one.name for one in SampleFolder(tmp_path).samples()] == names[:MOST_SAMPLES]


@pytest.mark.parametrize("folder", [None, Path("/nowhere/at/all"), Path(__file__)])
async def test_without_a_folder_there_are_none(folder: Path | None) -> None:
    """Where none is set, where it has gone, and where it is none."""
    async with client(folder) as door:
        assert (await door.get("/v1/samples")).json() == {"samples": []}
        assert (await door.get("/v1/samples/7-1.png")).status_code == 404


@given(name=st.text(st.characters(codec=None), max_size=20))
def test_a_name_never_leads_elsewhere(name: str) -> None:
    """Whatever is asked for, a name that is taken is one step below the folder, and can be written down."""
    if is_name(name):
        assert Path("/folder", name).parent == Path("/folder")
        assert Path("/folder", name).name == name.encode().decode()
    else:
        with pytest.raises(NotFoundError):
            SampleFolder(Path(__file__).parent).read(name)


@given(content=st.binary(max_size=20))
def test_what_is_no_image_is_none(content: bytes) -> None:
    """Only the starts that the formats' documents give are taken for images."""
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"RIFF", b"BM")
    assert media_type_of(content) == "" or content.startswith(starts)
