"""`attnserve classify` against a gateway that is only a list of what it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from serve.classify import BYTES_A_CALL, IMAGES_A_CALL, Row, classify, find_images, print_table, ready_models
from serve.client import AddressError, ClientError, Reply, Verdict, connected

QUIET = Console(quiet=True)


class Echo:
    """A client whose models read each image's bytes aloud; the model `broken` refuses every call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    async def classify(self, model: str, images: Sequence[bytes]) -> Reply:
        self.calls.append([len(image) for image in images])
        if model == "broken":
            raise ClientError("broken: no")
        verdicts = tuple(Verdict(label=image[:4].decode(), probability=0.5) for image in images)
        return Reply(version="3", verdicts=verdicts, seconds=0.1)

    async def index(self) -> list[dict[str, str]]:
        versions = (("b", "READY"), ("a", "READY"), ("b", "LOADING"), ("c", "UNAVAILABLE"))
        return [{"name": name, "version": "1", "state": state, "reason": ""} for name, state in versions]

    async def properties(self, _model: str, _version: str) -> Mapping[str, str]:
        return {}


def write(folder: Path, *contents: bytes) -> list[Path]:
    """Files 00.png, 01.png, ... with these contents."""
    paths = [folder / f"{number:02}.png" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


async def test_rows_are_in_order(tmp_path: Path) -> None:
    """By model as asked for, then by file; all ready models when none is named."""
    files = write(tmp_path, *(f"n{number}".encode() for number in range(20)))
    rows = await classify(Echo(), files, (), QUIET)
    assert [(row.model, row.file, row.label) for row in rows] == [
        (model, str(file), f"n{number}") for model in ("b", "a") for number, file in enumerate(files)
    ]
    assert rows[0] == Row(file=str(files[0]), model="b", version="3", label="n0", probability=0.5, error="")


async def test_calls_are_neither_long_nor_large(tmp_path: Path) -> None:
    """At most so many images and bytes travel in one call; what is larger travels alone."""
    half, huge = BYTES_A_CALL // 2, BYTES_A_CALL + 1
    files = write(tmp_path, *[bytes(1)] * 9, bytes(huge), bytes(half), bytes(half), bytes(1))
    client = Echo()
    await classify(client, files, ("a",), QUIET)
    assert sorted(client.calls) == sorted([[1] * IMAGES_A_CALL, [1], [huge], [half, half], [1]])


async def test_a_call_that_fails_fails_for_its_images_only(tmp_path: Path) -> None:
    """One model refuses, another one answers."""
    files = write(tmp_path, b"one", b"two")
    rows = await classify(Echo(), files, ("broken", "a"), QUIET)
    assert [(row.label, row.error) for row in rows] == [
        ("", "broken: no"), ("", "broken: no"), ("one", ""), ("two", ""),
    ]  # fmt: skip


async def test_a_file_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    """Its neighbours in the same call keep their answers, each its own."""
    files = write(tmp_path, b"one", b"two")
    unreadable = Path("/proc/self/mem")  # opens, and gives an error when its first page is read
    rows = await classify(Echo(), [files[0], unreadable, files[1]], ("a",), QUIET)
    assert [row.label for row in rows] == ["one", "", "two"]
    assert rows[1].error.startswith("cannot be read: ")


async def test_nothing_is_ready() -> None:
    """It is said, rather than answered with an empty table."""
    with pytest.raises(ClientError, match="no model is ready"):
        ready_models([{"name": "a", "version": "1", "state": "LOADING", "reason": ""}])


def test_experiments_are_asked_by_name_only() -> None:
    """Who asks one takes part in it; it has no version, by which it is told from models."""
    index = [
        {"name": name, "version": version, "state": "READY"} for name, version in (("a", "1"), ("b", ""))
    ]
    assert ready_models(index) == ["a"]


def test_images_are_found_below_folders(tmp_path: Path) -> None:
    """By their endings, in order; a file that is named is taken whatever its name."""
    (tmp_path / "deep" / "folder.png").mkdir(parents=True)
    for name in ("b.PNG", "deep/a.webp", "notes.txt", "deep/folder.png/c.jpeg"):
        (tmp_path / name).touch()
    found = find_images([tmp_path, tmp_path / "notes.txt"])
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "b.PNG", "deep/a.webp", "deep/folder.png/c.jpeg", "notes.txt",
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match=r"missing: no such file or folder"):
        find_images([tmp_path / "missing"])


def test_tables_are_for_people_or_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal a row is a line of cells between tabs, however long; brackets are only text."""
    rows = [("[red].png", "x" * 200)]
    print_table(Console(), ("file", "label"), rows)
    assert capsys.readouterr().out == f"file\tlabel\n[red].png\t{'x' * 200}\n"
    print_table(
        Console(force_terminal=True, width=40, no_color=True), ("file", "label"), [("[red].png", "x")]
    )
    assert "[red].png" in capsys.readouterr().out


async def test_addresses() -> None:
    """Anything but grpc://, http:// and https:// is refused with the forms that there are."""
    for url in ("tcp://here", "localhost:8001", "grpc://"):
        with pytest.raises(AddressError, match=r"expected grpc://host:port"):
            async with connected(url):
                pass


@pytest.mark.parametrize("token", ["caf\u00e9", "two\nlines"])
@pytest.mark.parametrize("scheme", ["grpc", "http"])
async def test_a_token_that_cannot_be_sent_is_not_shown(scheme: str, token: str) -> None:
    """It was copied badly; gRPC would fail with a traceback."""
    with pytest.raises(AddressError, match="token: holds characters") as raised:
        async with connected(f"{scheme}://127.0.0.1:1", token):
            pass
    assert token not in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "grpc://127.0.0.1:99999", "http://[::1"])
async def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    """Else gRPC takes the port modulo 65536, and shows a stranger the token."""
    with pytest.raises(AddressError, match="url is "):
        async with connected(url):
            pass
