"""Fills a model store with just the archives that a worker is to serve: `fetch_models.py --help`.

Every archive is hashed while it is copied, and takes its name only when it is the one that was listed, so
that TorchServe, which runs the code in archives, never sees another. What is listed, --sums decides; without
it the SHA256SUMS of the source does, which shows damage but no forgery. Nothing is resumed or tried again:
whoever runs this program, such as a pod, starts it anew. Exit code 0, or 1 with one sentence on standard
error. Only the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from urllib.error import HTTPError

SUMS = "SHA256SUMS"
MAX_ARCHIVE_BYTES = 8 * 1024**3
MAX_SUMS_BYTES = 1024**2
SILENCE_S = 30.0  # at most, without a byte from the source
DEADLINE_S = 1800.0  # for all archives together: a source that drips holds no pod for ever

_CHUNK_BYTES = 1024**2
_NAME = re.compile(r"[^./\\\0][^/\\\0]*\.mar")
_SUMS_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")


class FetchError(Exception):
    """The archives cannot be had as asked for; the message is one sentence."""


class Source(Protocol):
    """Where archives come from."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one file there, piece by piece.

        Raises:
            FetchError: There is no such file, or it cannot be had.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder on this machine, such as an image's own or a volume."""

    path: Path

    def chunks(self, name: str) -> Iterator[bytes]:
        """As in `Source`."""
        try:
            with (self.path / name).open("rb") as file:
                yield from _read(file)
        except OSError as error:
            raise FetchError(f"{self.path / name}: cannot be read: {_reason(error)}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A base address; the files lie directly below it."""

    url: str

    def chunks(self, name: str) -> Iterator[bytes]:
        """As in `Source`; a body that ends before its announced length is an error."""
        url = f"{self.url.rstrip('/')}/{urllib.parse.quote(name)}"
        try:
            with _OPENER.open(url, timeout=SILENCE_S) as reply:
                yield from _read(reply)
                if reply.length:
                    raise FetchError(f"{url}: ended {reply.length} bytes before its announced end")
        except HTTPError as error:
            with error:
                raise FetchError(f"{url}: the answer is {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(f"{url}: cannot be read: {_reason(error)}") from error


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirections, which object stores send, but never from https:// to http://."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows.

        Raises:
            FetchError: It would be another scheme.
        """
        if urllib.parse.urlsplit(newurl).scheme != req.type:
            raise FetchError(f"{req.full_url}: leads to {newurl}, which is no {req.type}:// address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SameScheme)


def fetch(source: Source, target: Path, wanted: Mapping[str, str]) -> None:
    """Copy the archives, then write SHA256SUMS with just these.

    Args:
        source: Where they come from.
        target: The folder that gets them.
        wanted: Their digests by file name.

    Raises:
        FetchError: An archive is not to be had, or not the listed one; that one is not in the folder then.
    """
    _check_target(target, wanted)
    ends = time.monotonic() + DEADLINE_S
    for name, digest in wanted.items():
        with _replacing(target / name) as file:
            found = _copy(name, source, file, ends)
            if found != digest:
                raise FetchError(f"{name}: is not the listed archive: sha256 must be {digest}, is {found}")
        print(f"{name}: sha256 {digest}", flush=True)  # noqa: T201 - a program's answer
    with _replacing(target / SUMS) as file:
        file.writelines(f"{digest}  {name}\n".encode() for name, digest in sorted(wanted.items()))


def parse_sums(text: bytes, source: str) -> dict[str, str]:
    """What `sha256sum` writes: digest by file name.

    Raises:
        FetchError: A line is not of that form, or a name has two digests.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
        found = _SUMS_LINE.fullmatch(line)
        if found is None:
            raise FetchError(f"{source}, line {number}: must be a sha256, two spaces and a file name")
        if sums.setdefault(found.group(2), found.group(1)) != found.group(1):
            raise FetchError(f"{source}, line {number}: lists {found.group(2)} a second time, otherwise")
    return sums


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    try:
        asked = _parser().parse_args(arguments)
        source = _source(asked.source, pinned=asked.sums is not None)
        fetch(source, asked.to, _listed(asked.names, _sums(source, asked.sums)))
    except FetchError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program's answer
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fill a model store with the archives that are named.")
    parser.add_argument(
        "--from", dest="source", required=True, metavar="SOURCE", help="a folder, or an https:// base address"
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the store to fill")
    parser.add_argument(
        "--sums", type=Path, metavar="FILE", help=f"what the archives must be; without it, SOURCE/{SUMS}"
    )
    parser.add_argument("names", nargs="+", metavar="NAME.mar", type=_name, help="an archive of SOURCE")
    return parser


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be the plain name of an archive, NAME.mar")
    return text


def _source(text: str, *, pinned: bool) -> Source:
    """The source that an argument means."""
    if "://" not in text:
        return Folder(path=Path(text))
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise FetchError(f"--from {text}: must be a folder or an https:// address")
    if parts.query or parts.fragment or parts.username is not None:
        raise FetchError("--from: must be an address without a user, a query or a fragment")
    if parts.scheme == "http" and not pinned:
        raise FetchError(f"--from {text}: must begin with https://, as without --sums its word is taken")
    return Address(url=text)


def _sums(source: Source, pinned: Path | None) -> dict[str, str]:
    """The digests that count."""
    if pinned is not None:
        return parse_sums(_whole(Folder(path=pinned.parent), pinned.name), str(pinned))
    print(f"no --sums: the source's own {SUMS} is taken at its word", flush=True)  # noqa: T201 - as above
    return parse_sums(_whole(source, SUMS), f"{SUMS} of the source")


def _listed(names: Sequence[str], sums: Mapping[str, str]) -> dict[str, str]:
    """The digests of these archives; all are looked up before the first is fetched."""
    for name in names:
        if name not in sums:
            raise FetchError(
                f"{name}: is not listed in {SUMS}, which has: {', '.join(sorted(sums)) or 'nothing'}"
            )
    return {name: sums[name] for name in names}


def _whole(source: Source, name: str) -> bytes:
    text = b""
    for chunk in source.chunks(name):
        text += chunk
        if len(text) > MAX_SUMS_BYTES:
            raise FetchError(f"{name}: is larger than {MAX_SUMS_BYTES} bytes")
    return text


def _check_target(target: Path, wanted: Mapping[str, str]) -> None:
    """A forgotten archive would be served, too: TorchServe loads all that are in its store."""
    if not target.is_dir():
        raise FetchError(f"--to {target}: is no folder")
    others = sorted({path.name for path in target.glob("*.mar")} - wanted.keys())
    if others:
        raise FetchError(
            f"--to {target}: holds {others[0]} already, which nobody asked for: name or remove it"
        )


def _copy(name: str, source: Source, target: IO[bytes], ends: float) -> str:
    """Copy one archive; its digest."""
    digest, copied = hashlib.sha256(), 0
    for chunk in source.chunks(name):
        copied += len(chunk)
        if copied > MAX_ARCHIVE_BYTES:
            raise FetchError(f"{name}: is larger than {MAX_ARCHIVE_BYTES} bytes")
        if time.monotonic() > ends:
            raise FetchError(f"{name}: not all of it came within {DEADLINE_S:g} s")
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when all went well, and leaves nothing behind otherwise."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        os.replace(unfinished, path)  # noqa: PTH105 - says that it replaces
    except OSError as error:
        raise FetchError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _read(file: IO[bytes] | http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _reason(error: Exception) -> str:
    """What went wrong, in the system's words, which urllib wraps."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
