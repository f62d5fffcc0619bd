"""The two doors' words for experiments: whole, alike, and safe to open."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.experiment import Arm, Design, Experiment, Guardrail, KeepImages, Override, State
from serve.core.lifecycle import ACTS
from serve.core.report import Report
from serve.core.report.rows import Row
from serve.core.verdict import Verdict
from serve.edge import experiments_csv as tables
from serve.edge import experiments_json, experiments_proto
from serve.edge.openapi_schema import schema_of
from serve.pb import experiments_pb2 as pb
from tests.edge.fake_desk import DESIGN

NAMES = st.from_regex("[a-z0-9][a-z0-9_.-]{0,9}", fullmatch=True)
SHARES = st.integers(0, 10_000)
LEVELS = st.floats(0.001, 0.999)
GUARDRAILS = st.builds(Guardrail, metric=st.just("error_rate"), alpha=LEVELS) | st.builds(
    Guardrail, metric=st.just("slo_exceedance"), threshold_ms=st.floats(1, 1e4)
)
RISKY = "=+-@\t\r\n'"


@st.composite
def _designs(draw: st.DrawFn) -> Design:
    mode = draw(st.sampled_from(["split", "shadow", "paired"]))
    names = draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))
    first = draw(SHARES)
    weights = (None, None) if mode == "shadow" else (first, 10_000 - first)
    labels = draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
    start = draw(st.integers(0, 9_999))
    guardrails = draw(st.lists(GUARDRAILS, max_size=2))
    watched = {guardrail.metric for guardrail in guardrails}
    more: dict[str, object] = {}
    if mode == "split":
        units = draw(st.lists(st.text(min_size=1, max_size=5), max_size=2, unique=True))
        more["overrides"] = [Override(unit=unit, arm=names[1], reason="a tester") for unit in units]
    else:
        more["sample"] = draw(SHARES)
        more["keep_images"] = draw(st.none() | st.builds(KeepImages, max_images=st.integers(1, 100_000)))
    return Design.model_validate(
        {
            "name": "of-" + names[0],
            "description": draw(st.text(max_size=20)),
            "mode": mode,
            "layer": draw(NAMES | st.just("")),
            "slots": (start, draw(st.integers(start + 1, 10_000))),
            "arms": [
                Arm(name=name, model="digits", version="1", weight=weight, labels=labels)
                for name, weight in zip(names, weights, strict=True)
            ],
            "ramp": draw(SHARES),
            "alpha": draw(LEVELS),
            "planned_units": draw(st.integers(100, 1_000_000_000)),
            "guardrails": guardrails,
            "promote_when_better": draw(st.booleans()) and "error_rate" in watched,
            **more,
        }
    )


@given(_designs())
def test_a_design_survives_protobuf(design: Design) -> None:
    """What is written of a design, is read as the same design."""
    message = pb.Design.FromString(experiments_proto.encode_design(design).SerializeToString())
    assert Design.model_validate(experiments_proto.decode_design(message)) == design


@given(_designs())
def test_what_json_shows_is_what_may_be_sent(design: Design) -> None:
    """A reply's keys of the design are a request's, and mean the same."""
    version = Experiment(
        number=3,
        design=design,
        state=State.RUNNING,
        winner=1,
        effective_at=0.0,
        created_at=0.0,
        act="start",
        author="me",
        reason="to see",
    )
    document = json.loads(json.dumps(experiments_json.encode_experiment(version), allow_nan=False))
    assert Design.model_validate({key: document[key] for key in Design.model_fields}) == design
    assert (document["winner"], document["version"]) == (design.arms[1].name, 3)


def test_an_empty_message_names_nothing() -> None:
    """A change of nothing changes nothing: no default is taken for a wish."""
    assert experiments_proto.decode_design(pb.Design()) == {}
    only = pb.Design(ramp=0, description="", promote_when_better=False, overrides=pb.Overrides())
    assert experiments_proto.decode_design(only) == {
        "ramp": 0,
        "description": "",
        "promote_when_better": False,
        "overrides": [],
    }


@pytest.mark.parametrize(
    ("message", "model"),
    [
        (pb.Design, Design),
        (pb.Arm, Arm),
        (pb.Guardrail, Guardrail),
        (pb.Override, Override),
        (pb.KeepImages, KeepImages),
    ],
)
def test_the_protocol_has_every_field(message: Any, model: Any) -> None:  # noqa: ANN401  generated classes
    """By the name that it has in JSON; a new one must be given its number."""
    assert {field.name for field in message.DESCRIPTOR.fields} == set(model.model_fields)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (pb.State, {state.name for state in State}),
        (pb.Act, {act.name for act in ACTS}),
        (pb.Verdict, {verdict.name for verdict in Verdict}),
    ],
)
def test_the_protocol_has_every_word(kind: Any, words: set[str]) -> None:  # noqa: ANN401  a generated class
    """Of states, acts and verdicts."""
    prefix = f"{kind.DESCRIPTOR.name.upper()}_"
    assert {name.removeprefix(prefix) for name in kind.keys()} == {*words, "UNSPECIFIED"}  # noqa: SIM118  no mapping


def test_rows_of_the_report_have_what_the_protocol_shows() -> None:
    """The typed fields are read from keys that the report has."""
    top = {field.name for field in pb.GetReportResponse.DESCRIPTOR.fields} - {"name", "report"}
    assert {"experiment", *top} <= {field.name for field in fields(Report)}
    assert {field.name for field in pb.MetricRow.DESCRIPTOR.fields} <= {field.name for field in fields(Row)}


@given(st.text(max_size=5) | st.builds(lambda first, rest: first + rest, st.sampled_from(RISKY), st.text()))
def test_what_is_guarded_comes_back(text: str) -> None:
    """No guarded text begins as a formula does, and taking the guard off gives what it was."""
    guarded = tables.guarded(text)
    assert not guarded.startswith(tuple(RISKY.replace("'", "")))
    assert tables.bare(guarded) == text


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2), max_size=4))
def test_a_table_is_read_as_it_was_written(rows: list[list[str]]) -> None:
    """Quotes, commas and line ends within cells are the table's own matter (RFC 4180)."""

    async def given_rows() -> AsyncGenerator[list[str], None]:
        for row in rows:
            yield row

    async def whole() -> bytes:
        chunks = tables.csv_chunks(["a", "b"], given_rows(), lambda row: row)
        return b"".join([chunk async for chunk in chunks])

    text = asyncio.run(whole()).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], *rows]
    assert text.endswith("\r\n")


@given(st.floats(0, 4e9))
def test_times_are_written_for_everybody(at: float) -> None:
    """In UTC, to the millisecond, as RFC 3339 has it."""
    written = experiments_json.rfc3339(at)
    assert written.endswith("Z")
    assert abs(datetime.fromisoformat(written).timestamp() - at) <= 0.001


def test_the_schema_of_a_design_stands_alone() -> None:
    """No word of it is newer than OpenAPI 3.0, and none points elsewhere."""
    schema = schema_of(Design)
    words = set(_words(schema))
    assert not words & {"$ref", "$defs", "prefixItems", "const"}
    assert schema["properties"]["keep_images"]["nullable"] is True
    assert schema["properties"]["slots"]["items"] == {"type": "integer", "minimum": 0, "maximum": 10_000}
    assert schema["properties"]["alpha"]["exclusiveMinimum"] is True
    assert schema["properties"]["arms"]["items"]["properties"]["weight"]["nullable"] is True
    assert schema["required"] == ["name", "mode", "arms"]
    assert DESIGN.keys() <= schema["properties"].keys()


def _words(schema: object) -> list[str]:
    """Every keyword of a schema; the names of properties are none."""
    if isinstance(schema, list):
        return [word for item in schema for word in _words(item)]
    if not isinstance(schema, Mapping):
        return []
    inner = [item for key, item in schema.items() if key not in ("properties", "default", "example")]
    inner += list(schema.get("properties", {}).values())
    return [*schema, *(word for item in inner for word in _words(item))]
