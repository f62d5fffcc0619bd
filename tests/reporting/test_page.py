"""The report as a page: complete, self-contained, tolerant, inert, the same every time."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.core.experiment import Mode, State
from serve.core.report.rows import Guard, Health
from serve.core.verdict import Verdict
from serve.reporting.page import page
from serve.reporting.words import ALERTS, MODES, STATES, VERDICTS
from tests.reporting.markup import parsed

HEADINGS = [
    "Can the comparison be trusted?",
    "The difference over time",
    "Latency",
    "The same image, both arms",
    "All metrics",
    "Where the arm gains or loses: by class",
    "How the answers moved",
    "Guardrails",
    "Who did what, when and why",
    "How to read this",
]
HOSTILE = (
    "$x$",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><iframe src=//evil.example>",
    "$\\frac{1}{0}$ $$ \\",
    "{{ 7 * 7 }}{% raw %}",
    "شكرا \u202e\u2066 👩‍🔬 \ud800 \x00\x1b]0;",
    "]]><!-- -->&amp;&lt;",
)


def changed(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401  JSON
    """A document in which every text is another."""
    if isinstance(value, dict):
        return {key: changed(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [changed(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def test_a_full_page_has_every_section_in_order(full: dict[str, Any], drawn: str) -> None:
    """The verdict comes first, then health, then the figures."""
    found = parsed(drawn)
    assert found.text_of("h2") == ["Better", *HEADINGS]
    assert found.tags.count("h1") == 1
    assert full["report"]["sentence"] in found.text
    assert "No data yet" not in found.text


def test_a_page_needs_nothing_but_itself(drawn: str) -> None:
    """No script, no handler, no address, one style sheet, and a policy that would forbid the rest."""
    found = parsed(drawn)
    assert not {"script", "iframe", "img", "image", "link", "object", "a"} & set(found.tags)
    assert found.tags.count("style") == 1
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"(https?:|data:|@import|//\w|url\((?!#))", drawn)
    assert all(value.startswith("#") for value in found.all_of("href"))
    (policy,) = [value for value in found.all_of("content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_page_is_well_formed_and_its_names_are_unique(drawn: str) -> None:
    """What is opened is closed; every id is there once; what refers to one finds it."""
    found = parsed(drawn)
    assert not found.broken
    ids = found.all_of("id")
    assert len(ids) == len(set(ids))
    labels = {name for value in found.all_of("aria-labelledby") for name in value.split()}
    references = labels | set(re.findall(r'(?:url\(|href=")#([\w-]+)', drawn))
    assert references <= set(ids)


def test_drawings_are_described_and_their_text_stays_text(drawn: str) -> None:
    """Each has a title and a description; no letter is drawn as a path."""
    drawings = [ET.fromstring(found) for found in re.findall(r'<svg[^>]*role="img".*?</svg>', drawn)]  # noqa: S314
    assert len(drawings) == 4
    for drawing in drawings:
        assert (drawing.findtext("title") or "").strip()
        assert len(drawing.findtext("desc") or "") > 40
        assert len(list(drawing.iter("text"))) > 5


def test_every_row_shows_its_definition(full: dict[str, Any], drawn: str) -> None:
    """Of every metric, check and guardrail the page says what it is."""
    text = parsed(drawn).text
    for part in ("rows", "health", "guardrails"):
        assert full["report"][part]
        for row in full["report"][part]:
            assert row["definition"] in text


def test_every_row_of_the_report_has_its_line(full: dict[str, Any], drawn: str) -> None:
    """The table of metrics leaves nothing out."""
    found = parsed(drawn)
    assert sum(1 for _, name, value in found.attributes if (name, value) == ("class", "member")) == len(
        full["report"]["rows"]
    )


@pytest.mark.parametrize(
    "document",
    [{}, None, [], 7, {"report": None, "looks": 3, "history": [None, {}]}, {"report": {"rows": [1, {}]}}],
)
def test_an_empty_document_gives_a_page_that_says_so(document: object) -> None:
    """Whatever is missing, every section is there."""
    found = parsed(page(document))
    assert found.text_of("h2")[-10:] == HEADINGS
    assert "No data yet" in found.text
    assert not found.broken


def test_all_but_the_report_may_be_missing(full: dict[str, Any]) -> None:
    """The page is drawn without looks, history, design and time."""
    full = {"report": full["report"]}
    assert full["report"]["sentence"] in parsed(page(full)).text


@pytest.mark.parametrize("hostile", [" ".join(HOSTILE), "x" * 5000], ids=["markup", "long"])
def test_hostile_text_is_shown_and_does_nothing(full: dict[str, Any], drawn: str, hostile: str) -> None:
    """Names, labels and reasons add no element and no attribute, in the page or in a drawing."""
    report = full["report"]
    plain = parsed(drawn)
    names = {arm["name"] for arm in report["arms"]} | set(report["confusion_changes"][0]["labels"])
    prose = {"mara", "joao", report["experiment"], report["description"], report["sentence"]}
    prose |= {entry["reason"] for entry in full["history"]}
    told = changed(full, lambda text: f"{text} {hostile}" if text in names | prose else text)
    text = page(told)
    found = parsed(text)
    assert found.tags == plain.tags
    assert [name for _, name, _ in found.attributes] == [name for _, name, _ in plain.attributes]
    text.encode()
    assert not set(text) & set("\x00\x1b\u202e\u2066")
    in_drawings = " ".join(found.text_of("text"))
    assert hostile[:5] in in_drawings


@pytest.mark.slow
def test_many_arms_classes_looks_and_versions_stay_below_a_megabyte(full: dict[str, Any]) -> None:
    """A large experiment's page can still be sent by mail."""
    report = full["report"]
    (comparison,), (latest,) = report["comparisons"], full["looks"][-1:]
    arms = [f"arm{number}" for number in range(9)]
    report["comparisons"] = [changed(comparison, lambda t, arm=arm: arm if t == "v4" else t) for arm in arms]  # type: ignore[misc]
    report["rows"] *= 9
    report["classes"] = [row | {"label": f"class {n}"} for n in range(100) for row in report["classes"]]
    report["latency_curves"] *= 4
    size = 100
    report["confusion_changes"] = [
        {"arm": arm, "labels": [f"class {n}" for n in range(size)], "change": [[1.0] * size] * size}
        for arm in arms
    ]
    (seen,) = latest["arms"]
    full["looks"] = [
        latest | {"at": latest["at"] + 60 * n, "arms": [seen | {"arm": arm} for arm in arms]}
        for n in range(2000)
    ]
    full["history"] = [full["history"][-1] | {"number": n, "effective_at": 1.7e9 + n} for n in range(500)]
    text = page(full)
    assert len(text.encode()) < 1_000_000
    assert parsed(text).tags.count("figure") == 9 + 2


def test_the_same_document_gives_the_same_bytes(full: dict[str, Any], drawn: str) -> None:
    """A report can be compared with itself."""
    assert drawn == page(json.loads(json.dumps(full)))


def test_every_word_of_the_interface_has_a_text() -> None:
    """No verdict, state or mode is shown by its key."""
    assert set(VERDICTS) == {verdict.value for verdict in Verdict}
    assert set(STATES) == {state.value for state in State}
    assert set(MODES) == {mode.value for mode in Mode}
    assert set(ALERTS) >= {state.value for state in (*Health, *Guard)}


@pytest.mark.parametrize("verdict", list(Verdict))
def test_each_verdict_has_its_badge(full: dict[str, Any], verdict: Verdict) -> None:
    """By its words, not by its colour alone."""
    report = {"verdict": verdict.value, "sentence": full["report"]["sentence"]}
    found = parsed(page({"report": report}))
    badge = VERDICTS[verdict.value]
    assert badge.text in found.text_of("h2")
    assert ("section", "class", f"verdict {badge.tone}") in found.attributes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def broken(document: Any, draw: Callable[[Any], Any]) -> None:  # noqa: ANN401  JSON
    """Put any JSON in some place of a document."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(list(keys)))
        below = place[key]
        if not isinstance(below, dict | list) or not below or draw(st.integers(0, 4)) == 0:
            place[key] = draw(JSON)
            return
        place = below


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_document_breaks_the_page(simulated: dict[str, Any], data: st.DataObject) -> None:
    """Whatever stands in place of any of its parts, there is a page with every section."""
    document = copy.deepcopy(simulated)
    for _ in range(data.draw(st.integers(1, 6))):
        broken(document, data.draw)
    found = parsed(page(document))
    assert found.text_of("h2")[-10:] == HEADINGS
    assert not found.broken
