"""Who may do what, and that no other site can do it in their name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.browsing import Watch
from tests.page.caller import Caller
from tests.page.gateways import FakeGateway, StartGateway

MODEL = "digits_sk"
UNLOAD = f"/v2/repository/models/{MODEL}/unload"


def give_token(page: Page, secret: str) -> None:
    """Answer the dialog."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Token").fill(secret)
    dialog.get_by_role("button", name="Use it").click()


@pytest.fixture
def guarded(start_gateway: StartGateway, watch: Watch) -> FakeGateway:
    """A gateway that wants a token; that it says so is no complaint."""
    watch.allow("^answer: 401 ")
    return start_gateway(tokens=True)


def test_a_token_is_asked_for_and_told_to_nobody_else(page: Page, guarded: FakeGateway) -> None:
    """A wrong one is refused in words, a good one opens the view; it is in no address and in no log."""
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{guarded.http}/#/models")
    give_token(page, "guessed")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("authorization:")).to_be_visible()

    secret = guarded.secret("infer")
    give_token(page, secret)
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("banner")).to_contain_text("infer-person")
    page.reload()
    expect(page.get_by_role("banner")).to_contain_text("infer-person")

    assert addresses
    assert not any(secret in address or "guessed" in address for address in [*addresses, page.url])
    assert page.context.cookies() == []
    assert page.evaluate("JSON.stringify(localStorage)") == "{}"
    assert secret not in guarded.log()
    page.get_by_role("button", name="Forget token").click()
    expect(dialog).to_be_visible()
    assert page.evaluate("JSON.stringify(sessionStorage)") == "{}"


def test_a_role_sees_what_it_may_not_do_and_why(page: Page, guarded: FakeGateway) -> None:
    """With `infer` acts are shown, disabled, with the reason; with `operate` they work."""
    with Caller.to(guarded.http, guarded.secret("operate")) as caller:
        name = caller.experiment("guarded")
    page.goto(f"{guarded.http}/#/experiments/{name}")
    give_token(page, guarded.secret("infer"))
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_be_disabled()
    expect(pause).to_have_accessible_description(re.compile("infer.*operate"))
    page.get_by_role("navigation").get_by_role("link", name="Models").click()
    expect(page.get_by_role("button", name="Unload", exact=False).first).to_be_disabled()
    with Caller.to(guarded.http, guarded.secret("infer")) as caller:
        refused = caller.rest.post(f"/v1/experiments/{name}:pause", json={"reason": "I try"})
        assert refused.status_code == 403

    page.get_by_role("button", name="Forget token").click()
    give_token(page, guarded.secret("operate"))
    page.goto(f"{guarded.http}/#/experiments/{name}")
    pause.click()
    page.get_by_role("dialog").get_by_label("Reason").fill("A camera is cleaned")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused: version")).to_be_visible()


def test_a_token_that_ends_costs_nothing_that_was_written(page: Page, guarded: FakeGateway) -> None:
    """The dialog that asks for another one stays, says what is wrong, and leaves a form as it was."""
    page.goto(f"{guarded.http}/#/models")
    tokens = page.get_by_role("dialog", name="This gateway asks for a token")
    expect(tokens).to_be_visible()
    for _ in range(3):  # the browser itself closes a dialog at the second
        page.keyboard.press("Escape")
        expect(tokens).to_be_visible()
    give_token(page, guarded.secret("operate"))
    page.get_by_role("button", name=f"Load {MODEL}", exact=True).click()
    form = page.get_by_role("dialog", name=f"Load {MODEL}?")
    form.get_by_label("Reason").fill("it took long to say why")
    page.evaluate("sessionStorage.setItem('attnserve-token', 'has-ended')")
    form.get_by_role("button", name="Load").click()
    for secret in ("guessed", guarded.secret("operate")):
        expect(tokens.get_by_text("authorization:")).to_be_visible()
        tokens.get_by_label("Token").fill(secret)
        tokens.get_by_role("button", name="Use it").click()
    expect(tokens).to_have_count(0)
    expect(form.get_by_label("Reason")).to_have_value("it took long to say why")
    form.get_by_role("button", name="Load").click()
    expect(page.get_by_text(f"{MODEL} was loaded.")).to_be_visible()


def test_what_cannot_be_a_token_is_not_sent(page: Page, guarded: FakeGateway) -> None:
    """A letter that no header can hold is no reason to say that the gateway does not answer."""
    page.goto(f"{guarded.http}/#/models")
    expect(page.get_by_role("dialog")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/v1/" in request.url else None)
    give_token(page, "schl\u00fcssel\u20ac")
    field = page.get_by_role("dialog").get_by_label("Token")
    assert field.evaluate("(input) => input.validity.patternMismatch")
    assert asked == []
    give_token(page, f"  {guarded.secret('infer')} ")
    expect(page.get_by_role("banner")).to_contain_text("infer-person")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
@pytest.mark.parametrize("way", ["form", "fetch"])
def test_another_sites_page_can_do_nothing(
    browser: Browser, gateway: FakeGateway, host: str, way: str
) -> None:
    """A form that is sent, and a request that wants no answer, are refused before anything is done."""
    with browser.new_context() as context, _site(_attack(gateway, way)) as port:
        page = context.new_page()
        with context.expect_event("response", lambda response: UNLOAD in response.url) as sent:
            page.goto(f"http://{host}:{port}/")
        assert sent.value.status == 403
    with Caller.to(gateway.http) as caller:
        assert caller.rest.get(f"/v2/models/{MODEL}/ready").is_success


def _attack(gateway: FakeGateway, way: str) -> bytes:
    """A page that wants to unload a model in its reader's name."""
    address = f"{gateway.http}{UNLOAD}"
    ways = {
        "form": f'<form method="post" enctype="text/plain" action="{address}"><input name=\'{{"a":"\' '
        f"value='\"}}'></form><script>document.forms[0].submit()</script>",
        "fetch": f"<script>fetch('{address}', {{method: 'POST', mode: 'no-cors', body: '{{}}'}})</script>",
    }
    return ways[way].encode()


@contextmanager
def _site(body: bytes) -> Iterator[int]:
    """A web server with one page; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
