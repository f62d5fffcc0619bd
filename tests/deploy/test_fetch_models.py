"""A model store is filled with exactly the archives that were listed, or one sentence says why it is not."""

import hashlib
import os
import resource
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.images import fetch_models
from serve.archive import read_sums
from tests.pki import Authority

PROGRAM = Path(fetch_models.__file__)
ARCHIVES = {"a.mar": b"first" * 100_000, "b.mar": b"second", "c d.mar": b"third"}


class Shop(ThreadingHTTPServer):
    """A web server whose answers a test can change."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files = ARCHIVES | {"SHA256SUMS": sums(ARCHIVES)}
        self.promised_more = 0
        self.leads_to = ""
        self.scheme = "https" if context else "http"
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}/models"


class _Answer(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        if self.server.leads_to:
            self.send_response(302)
            self.send_header("Location", self.server.leads_to + self.path.removeprefix("/models"))
            self.end_headers()
            return
        body = self.server.files.get(self.path.removeprefix("/models/").replace("%20", " "))
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"") + self.server.promised_more))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


def sums(files: dict[str, bytes]) -> bytes:
    """What sha256sum prints for these files."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()


def opened(shop: Shop) -> Iterator[Shop]:
    """A server at work until the test is over."""
    with shop:
        thread = threading.Thread(target=shop.serve_forever, args=(0.01,))
        thread.start()
        yield shop
        shop.shutdown()
        thread.join()


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Plain HTTP."""
    yield from opened(Shop())


@pytest.fixture
def safe_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """HTTPS, with a certificate that we trust."""
    authority = Authority()
    pair = authority.server()
    (tmp_path / "trusted.pem").write_bytes(authority.pem)
    (tmp_path / "both.pem").write_bytes(pair.certificate + pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    yield from opened(Shop(context))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three archives and their SHA256SUMS."""
    path = tmp_path / "archives"
    path.mkdir()
    for name, data in (ARCHIVES | {"SHA256SUMS": sums(ARCHIVES)}).items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The empty folder that is to be filled."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    """Digests that somebody wrote down before."""
    path = tmp_path / "pinned"
    path.write_bytes(sums(ARCHIVES))
    return path


def holds(store: Path, *names: str) -> bool:
    """Whether just these archives are there, byte for byte, with a SHA256SUMS that lists just them."""
    found = {path.name: path.read_bytes() for path in sorted(store.iterdir())}
    listed = found.pop("SHA256SUMS", None)
    return found == {name: ARCHIVES[name] for name in names} and listed == sums(found)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence that it fails with."""
    assert fetch_models.main([str(argument) for argument in arguments]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_folders_archives_come_with_a_list_of_just_these(folder: Path, store: Path) -> None:
    """As the program in the image is called; it says that it took the source's word."""
    done = subprocess.run(
        [sys.executable, "-I", PROGRAM, "--from", folder, "--to", store, "b.mar", "c d.mar"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert holds(store, "b.mar", "c d.mar")
    assert read_sums(store).keys() == {"b.mar", "c d.mar"}
    assert "no --sums: the source's own SHA256SUMS is taken at its word" in done.stdout


def test_an_address_serves_as_well(safe_shop: Shop, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over https://, whose certificate is checked, the source's own list is good enough."""
    assert fetch_models.main(["--from", safe_shop.url, "--to", str(store), "a.mar", "c d.mar"]) == 0
    assert holds(store, "a.mar", "c d.mar")
    assert "taken at its word" in capsys.readouterr().out


def test_a_pinned_list_counts_and_the_sources_is_not_asked(
    shop: Shop, store: Path, pinned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --sums plain http:// will do, and a source needs no list."""
    del shop.files["SHA256SUMS"]
    call = ["--from", f"{shop.url}/", "--to", str(store), "--sums", str(pinned), "a.mar"]
    assert fetch_models.main(call) == 0
    assert fetch_models.main(call) == 0, "a second run fetches anew over the first"
    assert holds(store, "a.mar")
    assert "word" not in capsys.readouterr().out


def test_without_a_pinned_list_plain_http_is_refused(
    shop: Shop, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody on the way could send other archives, and the list to match."""
    said = refused(capsys, "--from", shop.url, "--to", store, "a.mar")
    assert "must begin with https://" in said
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("spoilt", [b"", ARCHIVES["a.mar"] + b"!", b"F" + ARCHIVES["a.mar"][1:]])
def test_an_archive_that_is_not_the_listed_one_never_gets_its_name(
    folder: Path, store: Path, spoilt: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, longer, or of the right length: the digests are in the message, and the store has no trace."""
    (folder / "a.mar").write_bytes(spoilt)
    said = refused(capsys, "--from", folder, "--to", store, "a.mar")
    assert hashlib.sha256(spoilt).hexdigest() in said
    assert hashlib.sha256(ARCHIVES["a.mar"]).hexdigest() in said
    assert list(store.iterdir()) == []


def test_a_source_whose_list_fits_its_own_forgery_fails_against_the_pinned_one(
    folder: Path, store: Path, pinned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This is what --sums is for."""
    (folder / "b.mar").write_bytes(b"forged")
    (folder / "SHA256SUMS").write_bytes(sums({"b.mar": b"forged"}))
    said = refused(capsys, "--from", folder, "--to", store, "--sums", pinned, "b.mar")
    assert said.startswith("b.mar: is not the listed archive")


def test_a_failure_leaves_what_was_there(
    folder: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An archive that another run had fetched is not harmed by a bad copy."""
    assert fetch_models.main(["--from", str(folder), "--to", str(store), "a.mar"]) == 0
    (folder / "a.mar").write_bytes(b"spoilt")
    refused(capsys, "--from", folder, "--to", store, "a.mar")
    assert holds(store, "a.mar")


def test_a_name_that_is_not_listed_is_refused_before_anything_is_fetched(
    folder: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what there is."""
    said = refused(capsys, "--from", folder, "--to", store, "a.mar", "missing.mar")
    assert said == "missing.mar: is not listed in SHA256SUMS, which has: a.mar, b.mar, c d.mar\n"
    assert list(store.iterdir()) == []


def test_a_listed_archive_that_is_not_there_is_named(
    shop: Shop, folder: Path, store: Path, pinned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a folder and from an address."""
    del shop.files["b.mar"]
    (folder / "b.mar").unlink()
    asked = ("--to", store, "--sums", pinned, "b.mar")
    assert refused(capsys, "--from", shop.url, *asked).endswith("b.mar: the answer is 404 Not Found\n")
    assert refused(capsys, "--from", folder, *asked).endswith("cannot be read: No such file or directory\n")


def test_a_download_that_breaks_off_is_refused(
    shop: Shop, store: Path, pinned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A body shorter than its announced length, and nothing is kept of it."""
    shop.promised_more = 7
    said = refused(capsys, "--from", shop.url, "--to", store, "--sums", pinned, "a.mar")
    assert said.endswith("/models/a.mar: ended 7 bytes before its announced end\n")
    assert list(store.iterdir()) == []


def test_a_redirection_is_followed_but_not_out_of_tls(
    shop: Shop, safe_shop: Shop, store: Path, pinned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Object stores redirect; from https:// to http:// would undo the certificate's check."""
    for other in opened(Shop()):
        other.leads_to = shop.url
        call = ["--from", other.url, "--to", str(store), "--sums", str(pinned), "b.mar"]
        assert fetch_models.main(call) == 0
    assert holds(store, "b.mar")
    safe_shop.leads_to = shop.url
    said = refused(capsys, "--from", safe_shop.url, "--to", store, "b.mar")
    assert said.endswith("which is no https:// address\n")


def test_a_certificate_that_nobody_vouches_for_is_refused(
    safe_shop: Shop, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same server, whose authority we do not know."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    said = refused(capsys, "--from", safe_shop.url, "--to", store, "b.mar")
    assert "certificate verify failed" in said


def test_nobody_at_the_address_is_said(store: Path, pinned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The system's own words."""
    said = refused(capsys, "--from", "http://127.0.0.1:1", "--to", store, "--sums", pinned, "b.mar")
    assert said == "http://127.0.0.1:1/b.mar: cannot be read: Connection refused\n"


@pytest.mark.parametrize(
    "bound",
    [
        ("MAX_ARCHIVE_BYTES", 5, "a.mar: is larger than 5 bytes"),
        ("MAX_SUMS_BYTES", 5, "SHA256SUMS: is larger than 5 bytes"),
        ("DEADLINE_S", -1.0, "a.mar: not all of it came within -1 s"),
    ],
)
def test_nothing_goes_on_without_end(
    folder: Path,
    store: Path,
    bound: tuple[str, float, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The size of an archive, that of the list, and the time are bounded."""
    limit, value, says = bound
    monkeypatch.setattr(fetch_models, limit, value)
    assert refused(capsys, "--from", folder, "--to", store, "a.mar") == f"{says}\n"
    assert list(store.iterdir()) == []


def test_a_silent_source_is_given_up(
    shop: Shop, store: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source that accepts and then says nothing, for the time that is allowed."""
    monkeypatch.setattr(fetch_models, "SILENCE_S", 0.05)
    release = threading.Event()
    monkeypatch.setattr(_Answer, "do_GET", lambda _: release.wait(30))
    try:
        said = refused(capsys, "--from", shop.url, "--to", store, "--sums", pinned, "b.mar")
    finally:
        release.set()
    assert said.endswith("cannot be read: timed out\n")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("deadbeef  a.mar", "line 1: must be a sha256, two spaces and a file name"),
        (f"{'0' * 64}  ../a.mar", "line 1: must be a sha256, two spaces and a file name"),
        (f"{'0' * 64} *a.mar\n{'1' * 64}  a.mar", "line 2: lists a.mar a second time, otherwise"),
    ],
)
def test_a_list_that_cannot_be_understood_is_refused(
    folder: Path, store: Path, line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the line."""
    (folder / "SHA256SUMS").write_text(line)
    assert refused(capsys, "--from", folder, "--to", store, "a.mar") == f"SHA256SUMS of the source, {says}\n"


@pytest.mark.parametrize("name", ["../a.mar", "x/a.mar", "x\\a.mar", ".hidden.mar", "a.zip", "", ".mar"])
def test_a_name_is_one_of_an_archive_and_no_path(
    folder: Path, store: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is read or written beside the two folders; a wrong call ends as programs end, with 2."""
    with pytest.raises(SystemExit) as ended:
        fetch_models.main(["--from", str(folder), "--to", str(store), name])
    assert ended.value.code == 2
    assert "must be the plain name of an archive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("s3://bucket/models", "must be a folder or an https:// address"),
        ("https:///models", "must be a folder or an https:// address"),
        ("https://models.example/?token=secret", "an address without a user, a query or a fragment"),
        ("https://me:secret@models.example", "an address without a user, a query or a fragment"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(
    store: Path, source: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what may be a secret is not repeated."""
    said = refused(capsys, "--from", source, "--to", store, "a.mar")
    assert says in said
    assert "secret" not in said


def test_an_archive_that_nobody_asked_for_is_not_left_in_the_store(
    folder: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TorchServe would load it; we remove nothing that is not ours."""
    (store / "old.mar").write_bytes(b"old")
    said = refused(capsys, "--from", folder, "--to", store, "a.mar")
    assert "holds old.mar already, which nobody asked for" in said


def test_a_missing_store_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt --to must not become a new folder."""
    said = refused(capsys, "--from", folder, "--to", tmp_path / "nowhere", "a.mar")
    assert said.endswith("nowhere: is no folder\n")


def test_a_store_that_cannot_be_written_is_said(folder: Path, store: Path) -> None:
    """Here a limit of the system on a file's size, which even root has to keep; a full disk looks alike."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--from", folder, "--to", store, "a.mar"],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 1
    assert done.stderr == f"{store / 'a.mar'}: cannot be written: File too large\n"
    assert list(store.iterdir()) == []
