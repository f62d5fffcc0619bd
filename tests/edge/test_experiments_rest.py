"""Experiments over REST: documents, versions, refusals, tables."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from pyarrow import parquet

from serve.core.access import Access, Role, Token
from serve.core.record import Receipt
from serve.edge import experiments_parquet
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.experiments.outcomes import LabelRow, OutcomeItem
from tests.edge.doors import as_service, http_door
from tests.edge.fake_desk import DESIGN, LABELS, PAIR, FakeDesk
from tests.edge.fakes import FakeService

ALL = "/v1/experiments"
ONE = f"{ALL}/se-vs-eca"
WHY = {"reason": "to see"}


@pytest.fixture
async def made(rest: httpx.AsyncClient) -> dict[str, Any]:
    """Make an experiment, and give what was answered."""
    answer = await rest.post(ALL, json={**DESIGN, **WHY})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def _client(fake: FakeService, desk: FakeDesk | None, access: Access | None = None) -> httpx.AsyncClient:
    app = build_rest_app(as_service(fake), access or Access(), EdgeLimits(), desk)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_a_draft_is_made_and_found(rest: httpx.AsyncClient, desk: FakeDesk) -> None:
    """The answer says where it is and which version; design, state and history stand side by side."""
    answer = await rest.post(ALL, json={**DESIGN, **WHY})
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, ONE, '"1"')
    found = await rest.get(ONE)
    assert found.json() == answer.json()
    assert found.headers["etag"] == '"1"'
    document = found.json()
    assert {key: document[key] for key in ("name", "mode", "ramp", "margin")} == {
        "name": "se-vs-eca",
        "mode": "paired",
        "ramp": 10_000,
        "margin": 0.01,
    }
    assert {
        key: document[key] for key in ("state", "version", "phase", "winner", "reason", "author", "act")
    } == {
        "state": "draft",
        "version": 1,
        "phase": 0,
        "winner": None,
        "reason": "to see",
        "author": "anonymous",
        "act": "create",
    }
    assert document["effective_at"] == "2023-11-14T22:13:24.250Z"
    assert (await rest.get(ALL)).json()["experiments"][0]["name"] == "se-vs-eca"
    assert desk.calls[0].protocol == "http"


async def test_a_list_tells_verdicts_when_asked(rest: httpx.AsyncClient, desk: FakeDesk) -> None:
    """Verdict and sentence of what has begun, null of a draft; what is not known yet is told apart."""
    for name in ("begun", "slow", "draft"):
        assert (await rest.post(ALL, json={**DESIGN, **WHY, "name": name, "layer": name})).is_success
    for name in ("begun", "slow"):
        assert (await rest.post(f"{ALL}/{name}:start", json=WHY)).is_success
    desk.unknown.add("slow")
    listed = (await rest.get(f"{ALL}?verdicts=true")).json()["experiments"]
    told = {one["name"]: (one["verdict"], one["sentence"], one["verdict_known"]) for one in listed}
    assert told == {
        "begun": ("no_difference", "Nothing to choose.", True),
        "slow": (None, None, False),
        "draft": (None, None, True),
    }
    for plain in (ALL, f"{ALL}?verdicts=false"):
        found = (await rest.get(plain)).json()["experiments"]
        assert all(one.keys().isdisjoint({"verdict", "sentence", "verdict_known"}) for one in found)
    assert (await rest.get(f"{ALL}?verdicts=perhaps")).status_code == 400


WRONG: list[tuple[str, str, object, str]] = [
    ("POST", ALL, {**DESIGN, "reason": " "}, "reason: has 0 characters, must say why in 1 to 500"),
    ("POST", ALL, {**DESIGN, "reason": "a\0b"}, "reason: is 'a\\x00b', must be printable text"),
    ("POST", ALL, {**DESIGN, **WHY, "rampp": 1}, "rampp: is not known; did you mean ramp?"),
    ("PATCH", ONE, {"ramp": 1}, "reason: is missing, must be a string"),
    ("PATCH", ONE, {**WHY, "rampp": 1}, "rampp: is not known; did you mean ramp?"),
    ("POST", f"{ONE}:start", {}, "reason: is missing, must be a string"),
    ("POST", f"{ONE}:start", {**WHY, "reasn": ""}, "'reasn': is not known; did you mean reason?"),
    ("POST", f"{ONE}:start", {**WHY, "ramp": 1}, "'ramp': is not known; known: reason"),
    ("POST", f"{ONE}:ramp", {**WHY, "ramp": "5"}, "ramp: is '5', must be a whole number from 0"),
    ("POST", f"{ONE}:ramp", {**WHY, "ramp": True}, "ramp: is True, must be a whole number from 0"),
    ("PUT", "/v1/aliases/best", {**WHY}, "target: is missing, must be a string"),
    ("POST", f"{ONE}/outcomes", {"outcomes": [1]}, "outcomes[0]: is 1, must be an object"),
    (
        "POST",
        f"{ONE}/outcomes",
        {"outcomes": [{"feedback_token": "good", "lable": "7"}]},
        "outcomes[0].'lable': is not known; did you mean label?",
    ),
    (
        "POST",
        f"{ONE}/outcomes",
        {"outcomes": [{"feedback_token": "good", "label": 7}]},
        "outcomes[0].label: is an integer, must be a string",
    ),
    (
        "POST",
        f"{ONE}/labels",
        {"labels": [{"prediction": "ab", "label": "7", "item": -1}]},
        "labels[0].item: is -1, must be a whole number from 0",
    ),
]


async def test_what_is_wrong_is_named(rest: httpx.AsyncClient, made: Mapping[str, Any]) -> None:
    """A body that breaks a rule is refused with the key, its value and the rule; nothing changes."""
    for method, path, body, message in WRONG:
        answer = await rest.request(method, path, json=body)
        assert (answer.status_code, answer.json()) == (400, {"error": message})
    assert (await rest.get(ONE)).json() == made


async def test_only_what_is_named_changes(rest: httpx.AsyncClient, made: Mapping[str, Any]) -> None:
    """A change of one key leaves all others as they were; the version grows."""
    answer = await rest.patch(ONE, json={"ramp": 500, "reason": "slowly"})
    changed = answer.json()
    differ = {key for key in made if made[key] != changed[key]}
    assert differ == {"ramp", "version", "act", "reason"}
    assert answer.headers["etag"] == '"2"'


async def test_a_change_of_another_version_is_refused(
    rest: httpx.AsyncClient, made: Mapping[str, Any]
) -> None:
    """If-Match names the version that is meant, weak or strong; one that is not the newest answers 412."""
    assert made["version"] == 1
    late = {"If-Match": '"7"'}
    body = {"ramp": 500, **WHY}
    assert (await rest.patch(ONE, json=body, headers=late)).status_code == 412
    assert (await rest.post(f"{ONE}:start", json=WHY, headers=late)).status_code == 412
    refused = await rest.put("/v1/aliases/best", json={**WHY, "target": "digits"}, headers=late)
    assert refused.status_code == 412
    assert "version 0, not at 7" in refused.json()["error"]
    assert (await rest.patch(ONE, json=body, headers={"If-Match": 'W/"1"'})).status_code == 200
    assert (await rest.post(f"{ONE}:start", json=WHY, headers={"If-Match": '"2"'})).status_code == 200
    assert (await rest.post(f"{ONE}:stop", json=WHY, headers={"If-Match": "*"})).status_code == 200


@pytest.mark.parametrize("given", ["3", '"x"', '"1", "2"', '""', '"1234567890"'])
async def test_a_version_has_quotes(rest: httpx.AsyncClient, made: Mapping[str, Any], given: str) -> None:
    """An If-Match that cannot be a version of ours is the caller's error, not a change of any version."""
    answer = await rest.patch(ONE, json={"ramp": 5, **WHY}, headers={"If-Match": given})
    assert answer.status_code == 400
    assert "must be one version in quotes" in answer.json()["error"]
    assert (await rest.get(ONE)).json()["version"] == made["version"]


async def test_a_whole_life(rest: httpx.AsyncClient, made: Mapping[str, Any]) -> None:
    """Each act leads to its state; the audit has every version with author, act and reason."""
    steps: list[tuple[str, dict[str, object], str]] = [
        ("start", {}, "running"),
        ("start", {}, "running"),
        ("ramp", {"ramp": 800}, "running"),
        ("pause", {}, "paused"),
        ("resume", {}, "running"),
        ("promote", {"arm": "eca"}, "promoted"),
        ("rollback", {}, "rolled_back"),
    ]
    for act, more, state in steps:
        answer = await rest.post(f"{ONE}:{act}", json={"reason": f"because {act}", **more})
        assert (answer.status_code, answer.json()["state"]) == (200, state)
        assert answer.json()["winner"] == ("eca" if state == "promoted" else None)
        assert answer.json()["labels"] == list(LABELS)
    refused = await rest.post(f"{ONE}:start", json=WHY)
    assert refused.status_code == 409
    assert "allowed: rollback" in refused.json()["error"]
    audit = (await rest.get(f"{ONE}/audit")).json()["versions"]
    acts = ["create", "start", "ramp", "pause", "resume", "promote", "rollback"]
    assert [version["act"] for version in audit] == acts
    assert [version["version"] for version in audit] == list(range(1, 8))
    assert audit[2]["ramp"] == 800
    assert made["state"] == "draft"


async def test_an_unknown_act_is_told_which_there_are(rest: httpx.AsyncClient) -> None:
    """Instead of a word about verbs."""
    answer = await rest.post(f"{ONE}:launch", json=WHY)
    assert answer.status_code == 404
    assert "known: start, ramp, pause, resume, promote, rollback, stop" in answer.json()["error"]
    assert (await rest.delete(ONE)).status_code == 405


@pytest.mark.parametrize("path", [f"{ALL}?dry_run=true&units_per_day=900", f"{ALL}:plan?units_per_day=900"])
async def test_a_plan_creates_nothing(rest: httpx.AsyncClient, desk: FakeDesk, path: str) -> None:
    """A dry run says what a design needs, asks for no reason, and leaves no trace."""
    answer = await rest.post(path, json=DESIGN)
    assert (answer.status_code, answer.json()) == (200, {"units": 7847, "days": None})
    assert desk.planned == [900.0]
    assert (await rest.get(ALL)).json() == {"experiments": []}
    assert (await rest.post(f"{ALL}:plan?units_per_day=0", json=DESIGN)).status_code == 400


async def test_the_report_is_json_or_a_page(rest: httpx.AsyncClient, made: Mapping[str, Any]) -> None:
    """JSON unless a page is asked for by query or by Accept; the verdict stands at the top."""
    report = (await rest.get(f"{ONE}/report")).json()
    assert (report["verdict"], report["looks"]) == ("no_difference", [])
    assert report["rows"][0]["definition"] == "right answers / labelled images"
    assert report["rows"][0]["log_e"] is None
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    for answer in (
        await rest.get(f"{ONE}/report?format=html"),
        await rest.get(f"{ONE}/report", headers=browser),
    ):
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert made["name"] in answer.text
    asked = await rest.get(f"{ONE}/report?format=json", headers=browser)
    assert asked.headers["content-type"] == "application/json"
    assert (await rest.get(f"{ONE}/report?format=pdf")).status_code == 400


async def test_a_unit_hears_what_it_would_get(rest: httpx.AsyncClient, made: Mapping[str, Any]) -> None:
    """With the arm, its model, and every hash that was looked at."""
    assert made["state"] == "draft"
    await rest.post(f"{ONE}:start", json=WHY)
    told = (await rest.get(f"{ONE}/assign", params={"unit": "Zoë"})).json()
    assert (told["arm"], told["model"], told["model_version"]) == ("se", "digits_se", "1")
    assert (told["assignment"], told["unit"], told["version"]) == ("hash", "Zoë", 2)
    assert [check["question"] for check in told["checks"]] == ["holdout", "slot", "ramp", "arm"]
    assert (await rest.get(f"{ONE}/assign")).json() == {"error": "query.unit: Field required"}


async def test_outcomes_are_answered_one_by_one(
    rest: httpx.AsyncClient, desk: FakeDesk, made: Mapping[str, Any]
) -> None:
    """Each has its own receipt, in the order in which they came; a store that is down answers 503."""
    assert made["state"] == "draft"
    told = {
        "outcomes": [
            {"feedback_token": "good", "label": "7", "item": 2},
            {"feedback_token": "x", "label": "8"},
        ]
    }
    answer = await rest.post(f"{ONE}/outcomes", json=told)
    assert answer.json() == {
        "outcomes": [{"status": "accepted"}, {"status": "unknown_token", "message": "no"}]
    }
    assert desk.told == [
        OutcomeItem(feedback_token="good", label="7", item=2),  # noqa: S106  a word of the interface
        OutcomeItem(feedback_token="x", label="8", item=0),  # noqa: S106  as above
    ]
    desk.is_down = True
    assert (await rest.post(f"{ONE}/outcomes", json=told)).status_code == 503


async def test_too_many_outcomes_are_refused_whole(
    fake: FakeService, desk: FakeDesk, made: Mapping[str, Any]
) -> None:
    """Ten thousand are taken at once, and not one more."""
    assert made["state"] == "draft"
    rows = [{"feedback_token": "good", "label": "7"}] * 10_000
    async with _client(fake, desk) as client:
        assert (await client.post(f"{ONE}/outcomes", json={"outcomes": rows})).status_code == 200
        assert (await client.post(f"{ONE}/outcomes", json={"outcomes": [*rows, rows[0]]})).status_code == 413
        table = b"prediction,item,label\n" + b"ab,0,\n" * (2 << 20)
        long = await client.post(f"{ONE}/labels", content=table, headers={"Content-Type": "text/csv"})
        assert long.status_code == 413
    assert len(desk.told) == 10_000


async def test_disagreements_come_back_as_labels(
    rest: httpx.AsyncClient, desk: FakeDesk, made: Mapping[str, Any]
) -> None:
    """The exported table, its column filled in by hand, is an import; what is safe to open is undone."""
    assert made["state"] == "draft"
    exported = await rest.get(f"{ONE}/disagreements.csv")
    assert exported.headers["content-type"].startswith("text/csv")
    assert 'filename="se-vs-eca-disagreements.csv"' in exported.headers["content-disposition"]
    [row] = csv.DictReader(io.StringIO(exported.text))
    assert (row["eca_label"], row["image_kept"]) == ("'=cmd()", "yes")
    filled = exported.text.replace(",three,three,", ",'=cmd(),three,")
    headers = {"Content-Type": "text/csv; charset=utf-8"}
    answer = await rest.post(f"{ONE}/labels", content=f"\ufeff{filled}", headers=headers)
    assert answer.json() == {"labels": [{"prediction": PAIR.prediction, "item": 0, "status": "accepted"}]}
    assert desk.told == [LabelRow(prediction=PAIR.prediction, item=0, label="=cmd()")]
    document = (await rest.get(f"{ONE}/disagreements")).json()["disagreements"]
    assert document[0]["answers"]["eca"] == {"label": "=cmd()", "confidence": 0.5, "latency_us": 900}
    assert document[0]["image_kept"] is True
    assert (await rest.get(f"{ONE}/disagreements?unlabelled=true")).json() == {"disagreements": []}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "body: the header [] must have one column 'prediction'"),
        ("prediction,item,item,label\n", "must have one column 'item'"),
        ("prediction,item,label\nab,0\n", "body: row 2 has 2 cells, the header 3"),
        ("prediction,item,label\nab,-1,x\n", "body: row 2: item is '-1', must be a whole number from 0"),
        ("prediction,item,label\nab,99999999999999,x\n", "must be a whole number from 0"),
        ('prediction,item,label\n"ab"x,0,x\n', "body: not CSV"),
        (b"prediction,item,label\nab,0,\xff\n", "body: not UTF-8 at byte 27"),
    ],
)
async def test_a_table_that_is_none_is_refused(
    rest: httpx.AsyncClient, desk: FakeDesk, made: Mapping[str, Any], table: str | bytes, message: str
) -> None:
    """With the row and what is wrong in it; no label of it is taken."""
    assert made["state"] == "draft"
    answer = await rest.post(f"{ONE}/labels", content=table, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert desk.told == []


async def test_labels_are_taken_as_json(
    rest: httpx.AsyncClient, desk: FakeDesk, made: Mapping[str, Any]
) -> None:
    """With the same receipts as outcomes."""
    assert made["state"] == "draft"
    body = {"labels": [{"prediction": PAIR.prediction, "item": 1, "label": "three"}]}
    answer = await rest.post(f"{ONE}/labels", json=body)
    assert answer.json()["labels"][0]["status"] == Receipt.ACCEPTED.value
    assert desk.told == [LabelRow(prediction=PAIR.prediction, item=1, label="three")]


async def test_pairs_as_csv(rest: httpx.AsyncClient, desk: FakeDesk, made: Mapping[str, Any]) -> None:
    """A header and a row an image; what an arm did not answer is empty; no cell is a formula."""
    assert made["state"] == "draft"
    answer = await rest.get(f"{ONE}/pairs.csv")
    lines = answer.text.split("\r\n")
    assert lines[0] == (
        "prediction,item,unit,phase,at,label,se_label,se_confidence,se_latency_us,"
        "eca_label,eca_confidence,eca_latency_us"
    )
    assert lines[1].endswith(",2023-11-14T22:13:20.250Z,three,three,0.7500,1200,'=cmd(),0.5000,900")
    assert lines[2].endswith(",,three,0.7500,1200,,,")
    assert lines[3:] == [""]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert desk.closed == 1


async def test_a_long_table_is_not_held_back(
    fake: FakeService, desk: FakeDesk, made: Mapping[str, Any]
) -> None:
    """Its first rows are on their way before its last ones are read; who hangs up lets go of the ledger."""
    assert made["state"] == "draft"
    desk.pairs_given = 10**9
    app = build_rest_app(as_service(fake), Access(), EdgeLimits(), desk)
    async with http_door(app) as port:
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
            client.stream("GET", f"{ONE}/pairs.csv", headers={"Accept-Encoding": "gzip"}) as answer,
        ):
            first = await anext(answer.aiter_bytes())
        assert first.startswith(b"prediction,item,")
    assert desk.closed == 1


async def test_what_fails_before_the_first_row_is_said(
    rest: httpx.AsyncClient, desk: FakeDesk, made: Mapping[str, Any]
) -> None:
    """As every other error, not as a table that ends too soon."""
    assert made["state"] == "draft"
    desk.is_down = True
    for name in ("pairs.csv", "pairs.parquet"):
        answer = await rest.get(f"{ONE}/{name}")
        assert (answer.status_code, answer.json()) == (503, {"error": "the experiment store does not answer"})
    assert (await rest.get(f"{ALL}/nobody/pairs.csv")).status_code == 404


async def test_pairs_as_parquet(
    rest: httpx.AsyncClient, desk: FakeDesk, made: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows with types, in several groups; what is not known is null."""
    assert made["state"] == "draft"
    desk.pairs_given = 5
    monkeypatch.setattr(experiments_parquet, "GROUP_ROWS", 2)
    answer = await rest.get(f"{ONE}/pairs.parquet")
    file = parquet.ParquetFile(io.BytesIO(answer.content))
    assert file.num_row_groups == 3
    rows = file.read().to_pylist()
    assert len(rows) == 5
    assert rows[0]["eca_label"] == "=cmd()"
    assert rows[0]["at"].timestamp() == PAIR.at
    assert (rows[1]["label"], rows[1]["eca_confidence"], rows[1]["eca_latency_us"]) == (None, None, None)


async def test_without_pyarrow_there_is_csv(
    rest: httpx.AsyncClient, made: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names what to install."""
    assert made["state"] == "draft"
    monkeypatch.setattr(experiments_parquet, "find_spec", lambda _name: None)
    answer = await rest.get(f"{ONE}/pairs.parquet")
    assert answer.status_code == 501
    assert "attnserve[report]" in answer.json()["error"]


async def test_an_image_is_a_download(rest: httpx.AsyncClient, made: Mapping[str, Any]) -> None:
    """Bytes that a stranger sent are never shown as a page of ours."""
    assert made["state"] == "draft"
    answer = await rest.get(f"{ONE}/images/{PAIR.prediction}/0")
    assert answer.content.startswith(b"<svg")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await rest.get(f"{ONE}/images/{PAIR.prediction}/1")).status_code == 404
    assert (await rest.get(f"{ONE}/images/..%22/1")).status_code == 400


async def test_aliases(rest: httpx.AsyncClient) -> None:
    """Put, pointed elsewhere, listed."""
    first = await rest.put("/v1/aliases/best", json={"target": "digits:1", **WHY})
    assert (first.status_code, first.headers["etag"]) == (200, '"1"')
    second = await rest.put(
        "/v1/aliases/best", json={"target": "digits:2", **WHY}, headers={"If-Match": '"1"'}
    )
    assert second.json()["version"] == 2
    assert (await rest.get("/v1/aliases")).json() == {"aliases": [second.json()]}
    assert second.json()["target"] == "digits:2"


async def test_a_head_is_a_get_without_a_body(rest: httpx.AsyncClient, made: Mapping[str, Any]) -> None:
    """As everywhere."""
    answer = await rest.head(ONE)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", '"1"')
    assert made["version"] == 1


ROUTES = [
    ("POST", ALL, Role.OPERATE, "create_experiment"),
    ("POST", f"{ALL}:plan", Role.OPERATE, "plan_experiment"),
    ("GET", ALL, Role.INFER, ""),
    ("GET", ONE, Role.INFER, ""),
    ("PATCH", ONE, Role.OPERATE, "patch_experiment"),
    *(
        ("POST", f"{ONE}:{act}", Role.OPERATE, f"{act}_experiment")
        for act in ("start", "ramp", "pause", "resume", "promote", "rollback", "stop")
    ),
    ("GET", f"{ONE}/report", Role.INFER, ""),
    ("GET", f"{ONE}/audit", Role.INFER, ""),
    ("GET", f"{ONE}/assign?unit=u", Role.INFER, ""),
    ("POST", f"{ONE}/outcomes", Role.INFER, ""),
    ("POST", f"{ONE}/labels", Role.OPERATE, "import_labels"),
    ("GET", f"{ONE}/pairs.csv", Role.OPERATE, "get_pairs_csv"),
    ("GET", f"{ONE}/pairs.parquet", Role.OPERATE, "get_pairs_parquet"),
    ("GET", f"{ONE}/disagreements", Role.OPERATE, "get_disagreements"),
    ("GET", f"{ONE}/disagreements.csv", Role.OPERATE, "get_disagreements_csv"),
    ("GET", f"{ONE}/images/{'ab' * 16}/0", Role.OPERATE, "get_image"),
    ("GET", "/v1/aliases", Role.INFER, ""),
    ("PUT", "/v1/aliases/best", Role.OPERATE, "put_alias"),
]
BODIES: Mapping[str, object] = {
    "POST": {**DESIGN, **WHY},
    "PATCH": {"ramp": 1, **WHY},
    "PUT": {"target": "digits", **WHY},
}
# Routes whose body is another one than a design.
OTHERS: Mapping[str, object] = {"outcomes": {"outcomes": []}, "labels": {"labels": []}}


async def test_who_may_do_what(fake: FakeService, desk: FakeDesk) -> None:
    """Reading and telling outcomes is for all with a token; the rest is refused and taken down by name."""
    access = Access(
        tokens=(Token(name="app", role=Role.INFER, sha256=hashlib.sha256(b"secret").hexdigest()),)
    )
    async with _client(fake, desk, access) as client:
        for method, path, role, act in ROUTES:
            fake.denials.clear()
            without = await client.request(method, path, json=WHY)
            answer = await client.request(method, path, json=WHY, headers={"Authorization": "Bearer secret"})
            assert without.status_code == 401
            assert (answer.status_code == 403) is (role is Role.OPERATE), path
            names = [(denied.name, denied.principal) for denied, _ in fake.denials]
            assert names == ([(act, ""), (act, "app")] if act else [])


async def test_a_gateway_without_experiments_says_so(fake: FakeService) -> None:
    """Every route is there, and names the setting."""
    async with _client(fake, None) as client:
        for method, path, _, _ in ROUTES:
            last = path.rpartition("/")[2]
            body = OTHERS.get(last) or (WHY if ":" in last and "plan" not in last else BODIES.get(method))
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 501, answer.text
            assert answer.json() == {
                "error": "experiments are disabled on this gateway (experiments.enabled)"
            }


async def test_what_an_operator_sends_wrong_is_taken_down(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """With whose it was, and what it was about, as for models."""
    await rest.post(f"{ONE}:rollback", content=b"{")
    [(act, _)] = fake.denials
    assert (act.name, act.target, act.principal) == ("rollback_experiment", "se-vs-eca", "anonymous")
