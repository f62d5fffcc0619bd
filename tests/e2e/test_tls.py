"""TLS on both doors: who trusts whom, and what changes while the gateway runs."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from serve.client import AddressError, TlsFiles, UnreachableError, connected
from tests.e2e.demo import Demo
from tests.e2e.processes import attnserve, wait_until
from tests.e2e.secure import MODEL, PATIENCE_S, Secure, code, secured, status
from tests.e2e.stock import StockTorchServe
from tests.pki import Authority, Pair, serial

LIVE, METADATA, LOAD = "/v2/health/live", "/v2", "/v2/repository/models/x/load"
STRANGER = Authority("another authority")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """One that shows a certificate and asks for none; it looks for changes all the time."""
    folder = tmp_path_factory.mktemp("tls")
    with secured(folder, Authority(), {"reload_interval_s": 0.1}) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """One that asks for a certificate, too; it looks for changes only when it is told."""
    folder, authority = tmp_path_factory.mktemp("mtls"), Authority()
    (folder / "callers.pem").write_bytes(authority.pem)
    settings = {"reload_interval_s": 3600, "tls": {"client_ca": str(folder / "callers.pem")}}
    with secured(folder, authority, settings) as running:
        yield running


def refused(gateway: Secure, pair: Pair | None = None, trusts: Authority | None = None) -> bool:
    """Whether neither door makes a connection."""
    with gateway.rest(pair, trusts) as connection, gateway.channel(pair, trusts) as channel:
        try:
            status(connection, LIVE)
        except (ssl.SSLError, ConnectionError):
            return code(channel)[0] == "UNAVAILABLE"
    return False


def urls(gateway: Secure) -> tuple[str, str]:
    """Where our own client finds its doors."""
    return f"grpcs://{gateway.stack.addresses['grpc']}", gateway.stack.addresses["http"]


def test_both_doors_speak_tls(gateway: Secure) -> None:
    """Callers that trust the authority are answered; the addresses say how; metrics stay plain."""
    with gateway.rest() as connection, gateway.channel() as channel:
        assert status(connection, LIVE) == (200, {"live": True})
        assert code(channel) == ("OK", "")
    assert gateway.stack.addresses["http"].startswith("https://127.0.0.1:")
    assert gateway.stack.addresses["metrics"].startswith("http://127.0.0.1:")
    expires = gateway.stack.series()["attnserve_certificate_expires_timestamp_seconds"]
    assert 0 < expires < float("inf")


def test_plain_text_and_strangers_are_refused(gateway: Secure) -> None:
    """Neither door answers without TLS; a caller that trusts another authority does not talk to us."""
    with pytest.raises(httpx.TransportError):
        httpx.get(gateway.stack.addresses["http"].replace("https", "http") + LIVE, trust_env=False)
    assert code(gateway.stack.channel)[0] == "UNAVAILABLE"
    assert refused(gateway, trusts=STRANGER)


async def test_our_client_trusts_whom_it_is_told_to(gateway: Secure) -> None:
    """Over both protocols the authority's file lets it in; without it, or with one that is not there, no."""
    ca, nothing = gateway.folder / "ca.pem", gateway.folder / "nothing.pem"
    ca.write_bytes(gateway.authority.pem)
    for url in urls(gateway):
        async with connected(url, tls=TlsFiles(ca=ca)) as client:
            assert [model["name"] for model in await client.index()] == [MODEL]
        async with connected(url) as client:
            with pytest.raises(UnreachableError):
                await client.index()
        with pytest.raises(AddressError, match=re.escape(str(nothing))):
            await connected(url, tls=TlsFiles(ca=nothing)).__aenter__()


def test_a_certificate_changes_while_it_runs(gateway: Secure) -> None:
    """New connections are shown the new one at both doors; those that are open go on."""
    new = gateway.authority.server()
    with gateway.rest() as connection, gateway.channel() as channel:
        assert (status(connection, LIVE)[0], code(channel)[0]) == (200, "OK")
        gateway.show(new)
        for door in (gateway.http_door, gateway.grpc_door):
            wait_until(lambda: gateway.shown(door) == serial(new.certificate), PATIENCE_S, "shown")  # noqa: B023
        assert (status(connection, LIVE)[0], code(channel)[0]) == (200, "OK")
        kept: bytes = connection.sock.getpeercert(binary_form=True)  # type: ignore[assignment]  # it has one
        assert serial(kept, der=True) != serial(new.certificate)
    assert gateway.success("certificates") == 1


def test_a_bad_version_changes_nothing(gateway: Secure) -> None:
    """The key of another: both doors keep the last good one, a gauge and a line say so; then it is mended."""
    before = gateway.shown(gateway.http_door)
    good = {name: (gateway.folder / name).read_bytes() for name in ("key.pem", "certificate.pem")}
    gateway.write("key.pem", gateway.authority.server().key)
    gateway.wait_for("certificates", 0)
    assert [gateway.shown(door) for door in (gateway.http_door, gateway.grpc_door)] == [before, before]
    gateway.write("key.pem", good["key.pem"])
    gateway.wait_for("certificates", 1)
    (failed,) = (line for line in gateway.stack.events("reload failed") if "not the key" in line["reason"])
    assert (failed["what"], failed["level"]) == ("certificates", "error")


def test_whoever_shows_a_certificate_is_known_by_its_name(mutual: Secure) -> None:
    """The common name, or else the first other name, with the role of tls.client_role."""
    named = mutual.authority.caller("ci")
    others = mutual.authority.caller("", [x509.UniformResourceIdentifier("spiffe://a/b"), x509.DNSName("b")])
    for pair, name in ((named, "ci"), (others, "spiffe://a/b")):
        said = f"certificate: '{name}' has the role 'infer', this needs 'operate'"
        with mutual.rest(pair) as connection, mutual.channel(pair) as channel:
            assert status(connection, METADATA)[0] == 200
            assert status(connection, LOAD, verb="POST") == (403, {"error": said})
            assert code(channel)[0] == "OK"
            assert code(channel, method="RepositoryModelLoad") == ("PERMISSION_DENIED", said)


def test_a_certificate_without_a_name_is_nobody(mutual: Secure) -> None:
    """It opens what is open to all, and nothing else."""
    nameless = mutual.authority.caller("", [x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))])
    with mutual.rest(nameless) as connection, mutual.channel(nameless) as channel:
        assert (status(connection, LIVE)[0], status(connection, METADATA)[0]) == (200, 401)
        assert code(channel, method="ServerLive")[0] == "OK"
        assert code(channel)[0] == "UNAUTHENTICATED"


def test_nobody_comes_in_without_a_certificate_of_the_authority(mutual: Secure) -> None:
    """None, another authority's, or a server's: no connection, not even for a probe."""
    for pair in (None, STRANGER.caller("ci"), mutual.authority.server()):
        assert refused(mutual, pair)


async def test_our_client_shows_its_certificate(mutual: Secure) -> None:
    """Over both protocols, with its key in a file of its own or in the same one; so does the command line."""
    pair = mutual.authority.caller("cli")
    contents = (mutual.authority.pem, pair.certificate, pair.key, pair.certificate + pair.key)
    files = [mutual.folder / f"cli-{number}.pem" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    ca, cert, key, both = files
    for url in urls(mutual):
        for tls in (TlsFiles(ca=ca, certificate=cert, key=key), TlsFiles(ca=ca, certificate=both)):
            async with connected(url, tls=tls) as client:
                assert len(await client.index()) == 1
        with pytest.raises(AddressError, match="needs a certificate"):
            await connected(url, tls=TlsFiles(ca=ca, key=key)).__aenter__()
    command = ("models", "--url", urls(mutual)[0], "--ca", ca, "--cert", cert, "--key", key)
    assert (await asyncio.to_thread(attnserve, *command)).returncode == 0


def test_sighup_takes_an_authority_away_at_once(mutual: Secure) -> None:
    """Its callers make no new connection; those that have one go on."""
    old, new = mutual.authority.caller("old"), STRANGER.caller("new")
    with mutual.rest(old) as connection, mutual.channel(old) as channel:
        assert (status(connection, METADATA)[0], code(channel)[0]) == (200, "OK")
        mutual.write("callers.pem", STRANGER.pem)
        mutual.stack.process.send_signal(signal.SIGHUP)
        wait_until(lambda: mutual.stack.events("reloaded") != [], PATIENCE_S, "a line in the log")
        assert refused(mutual, old)
        assert (status(connection, METADATA)[0], code(channel)[0]) == (200, "OK")
    with mutual.rest(new) as connection, mutual.channel(new) as channel:
        assert status(connection, METADATA)[0] == 200
        assert code(channel)[0] == "OK"


def test_it_does_not_start_with_a_bad_certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Exit code 2 and the reason, before any port is bound."""
    folder, authority = tmp_path_factory.mktemp("bad"), Authority()
    pair = authority.server(days=(-9, -1))
    for name, content in (("certificate.pem", pair.certificate), ("key.pem", pair.key)):
        (folder / name).write_bytes(content)
    variables = {
        f"ATTNSERVE_TLS_{name.upper()}": str(folder / f"{name}.pem") for name in ("certificate", "key")
    }
    ended = attnserve("serve", ATTNSERVE_RUN_DIR=str(folder), **variables)
    assert (ended.returncode, ended.stderr) == (2, "tls.certificate: certificate has expired\n")


@pytest.mark.slow
def test_a_tour_through_tls(torchserve: StockTorchServe, demo: Demo, tmp_path: Path) -> None:
    """What `make serve` shows goes through both doors, and what it offers to paste says whom to trust."""
    settings = {"engines": [{"address": torchserve.target, "models": [MODEL]}]}
    with secured(tmp_path, Authority(), settings, "--tour", str(demo.samples)) as gateway:
        log = gateway.stack.log
        wait_until(lambda: "Ctrl-C ends everything." in log(), PATIENCE_S, f"the tour is over:\n{log()}")
        count = len(demo.images)
        found = re.findall(rf"{MODEL}\W+(gRPC|REST)\W+(\d+) of {count}\W", log())
        assert [door for door, right in found if int(right) >= 0.95 * count] == ["gRPC", "REST"]
        over_grpc, over_rest = urls(gateway)
        certificate = gateway.folder / "certificate.pem"
        assert f"--url {over_grpc} --ca {certificate}\n" in log()
        assert f"curl -s --cacert {certificate} {over_rest}/v2/models/{MODEL}\n" in log()
