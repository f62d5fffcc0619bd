"""The page of a load test's report: complete, self-contained, inert, small, the same every time."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.report.against import read_baseline
from loadtests.report.document import Knee, Report, Step
from loadtests.report.page import page
from loadtests.report.tiles import badge, tiles
from loadtests.report.written import bare, cleaned, ends, lasting, three
from tests.loadtests import made_report
from tests.loadtests.made_report import compared, empty, figures, made, row, step, wait_ms
from tests.reporting.markup import parsed

HEADINGS = (
    "Load and answers over time",
    "How long callers waited",
    "Latency and throughput against load",
    "The gateway from inside",
    "Against the baseline",
    "The arms, as their callers saw them",
    "Capacity",
    "All figures",
    "Each step",
    "Failures",
    "Refused, as they should be",
    "Do the counts agree?",
    "What making the load cost",
    "Machine and options",
    "How to read this",
)
ALWAYS = ("Do the counts agree?", "How to read this")
HOSTILE = '<script>alert(1)</script> "><img src=x onerror=alert(1)> </svg> {{ 7 * 7 }} $x$ \x00\ud800\u202e'


@pytest.fixture(scope="module")
def drawn() -> str:
    """The page of a report with everything in it, drawn once."""
    return page(made())


def drawings(text: str) -> list[ET.Element]:
    """The drawings of a page."""
    return [ET.fromstring(found) for found in re.findall(r'<svg[^>]*role="img".*?</svg>', text)]  # noqa: S314


def test_a_full_page_begins_with_what_came_of_the_run(drawn: str) -> None:
    """Badge, headline, tiles and warnings come before the first plot, then the parts in their order."""
    found = parsed(drawn)
    assert found.text_of("h2") == ["Worse than the baseline", *HEADINGS]
    top = parsed(drawn[: drawn.index("<figure>")] + "</section></main></body></html>").text
    assert found.tags.count("h1") == 1
    for part in (*made().headline, *made().warnings, "Load that was carried", "p50 at 80 a second", "230 ms"):
        assert part in top
    assert drawn.index("<figure>") < drawn.index("<table")


def test_a_page_needs_nothing_but_itself(drawn: str) -> None:
    """No script, no handler, no address beyond those that it names, and a policy that forbids the rest."""
    found = parsed(drawn)
    assert not {"script", "iframe", "img", "image", "link", "object", "a"} & set(found.tags)
    assert found.tags.count("style") == 1
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"(data:|@import|url\((?!#))", drawn)
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
    assert labels | set(re.findall(r'(?:url\(|href=")#([\w-]+)', drawn)) <= set(ids)


def test_drawings_are_described_and_tables_have_captions(drawn: str) -> None:
    """Each drawing has a title, a description with figures, and text that stays text."""
    found = drawings(drawn)
    assert len(found) == len(
        ("throughput", "all", "way", "model", "arm", "steps", "gateway", "baseline", "arms", "capacity")
    )
    for drawing in found:
        assert (drawing.findtext("title") or "").strip()
        assert re.search(r"\d", drawing.findtext("desc") or "")
        assert len(list(drawing.iter("text"))) > 5
    tags = parsed(drawn).tags
    assert tags.count("table") == tags.count("caption") > 8
    assert len(parsed(drawn).all_of("scope")) == tags.count("th")


def test_the_hidden_waiting_is_drawn_in_the_open_loop_only(drawn: str) -> None:
    """There the service time stands beside the response time; in a closed loop both are the same."""
    assert "hidden from a closed loop" in " ".join(parsed(drawn).text_of("text"))
    closed = page(replace(empty(), rows=made().rows, timeline=made_report.points("all", "all", 6)))
    assert "hidden from a closed loop" not in closed
    assert "In a closed loop a slow reply delays the next request" in closed


def test_every_row_step_and_comparison_has_its_line(drawn: str) -> None:
    """The tables leave nothing out, and carry the intervals of the response time and of the service time."""
    found, report = parsed(drawn), made()
    rows = [value for tag, name, value in found.attributes if (tag, name) == ("tr", "class")]
    assert rows.count("member") == rows.count("service") == len(report.rows)
    text = " ".join(found.text.split())
    for comparison in (*report.comparisons, *report.arms):
        assert comparison.sentence in text
    names = [each.name for each in report.steps] + [found.name for found in report.generators]
    assert all(name in text for name in names)
    assert "51.8–66.2" in text  # 0.9 and 1.15 times the p90 of M/M/1 at 60 of 100 a second: ln 10 / 40 s
    assert "9.00–11.0" in text


@pytest.mark.slow
@pytest.mark.parametrize("missing", [field.name for field in fields(Report) if field.name != "loop"])
def test_a_part_without_data_leaves_no_empty_heading(missing: str) -> None:
    """Whatever is missing by itself, the page is drawn, and every heading has something below it."""
    small = replace(
        made(), timeline=made_report.points("all", "all", 6), comparisons=(), arms=(), capacity=None
    )
    text = page(replace(small, **{missing: getattr(empty(), missing)}))
    assert not parsed(text).broken
    assert not re.search(r"</h2>\s*(</section>|<h2)", text)


def test_an_empty_report_gives_a_page_that_says_so() -> None:
    """A run without a single request is told as one, and nothing else is claimed."""
    found = parsed(page(empty()))
    assert found.text_of("h2") == ["Nothing measured", *ALWAYS]
    assert "Not compared" in found.text
    assert not {"svg", "table"} & set(found.tags)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Limit found"),
        ({"differences": ("gRPC: 7 sent, 6 counted",)}, "Counts disagree"),
        ({"comparisons": (compared("p99", 1.4, "worse"),)}, "Worse than the baseline"),
        ({"comparisons": (compared("p99", 1.4, "unclear"),)}, "Limit found"),
        ({"knee": Knee(load=None, broken=20.0, text="")}, "Never kept up"),
        ({"knee": Knee(load=120.0, broken=None, text="")}, "No limit found"),
        ({"knee": None}, "Stopped early"),
        ({"loop": "closed"}, "Stopped early"),
        ({"knee": None, "stopped": ""}, "Promise broken"),  # by its last steps
        ({"knee": None, "stopped": "", "steps": made().steps[:1]}, "Promise kept"),
        ({"knee": None, "stopped": "", "steps": (), "slo": {"p99_ms": 100.0}}, "Promise broken"),
        (
            {"knee": None, "stopped": "", "steps": (), "rows": (row("all", "all", load=120.0),)},
            "Too many failures",
        ),
        (
            {"knee": None, "stopped": "", "steps": (), "rows": (replace(row("all", "all"), response=()),)},
            "Too few requests",
        ),
        ({"rows": (row("all", "all", requests=0),)}, "Nothing measured"),
    ],
)
def test_the_badge_says_the_worst_that_holds(changes: dict[str, Any], text: str) -> None:
    """What makes the figures worthless comes before what is bad in them, and that before what is good."""
    report = replace(replace(made(), comparisons=()), **changes)
    assert badge(report).text == text


def test_the_tiles_speak_of_the_highest_load_that_was_carried() -> None:
    """With steps the figures are those of the knee; without, those of all requests."""
    load, median, tail, failures = tiles(made())
    assert (load.value, load.meaning) == ("80 a second", "broke at 120 a second")
    assert (median.name, median.value) == ("p50 at 80 a second", f"{wait_ms(80, 0.5):.2f} ms")
    assert (tail.value, tail.meaning) == ("230 ms", "95 % interval: 207 to 265 ms")
    assert (failures.value, failures.meaning) == ("0.00 %", "7 of all 5,000 requests")
    whole = tiles(replace(made(), knee=None))
    assert [tile.name for tile in whole] == [
        "Good replies",
        "p50 all requests",
        "p99 all requests",
        "Failures all requests",
    ]
    users = replace(made(), loop="closed", knee=Knee(load=8.0, broken=None, text=""), steps=())
    assert (tiles(users)[0].name, tiles(users)[0].value) == ("Knee", "8 users")


def test_what_too_few_requests_leave_open_is_not_claimed() -> None:
    """Tile and plots take the highest percentile that is known; no legend names a line without points."""

    def cut(found: Step) -> Step:
        known = tuple(f if f.name not in {"p99", "p99.9"} else replace(f, value=None) for f in found.response)
        service = tuple(f if f.name != "p99" else replace(f, value=None) for f in found.service[:-1])
        return replace(found, response=known, service=service)

    points = (replace(p, p99=None, p999=None, service_p99=None) for p in made_report.points("all", "all", 6))
    few = replace(empty(), loop="open", slo={}, rows=made().rows, knee=made().knee, timeline=tuple(points))
    few = replace(few, steps=tuple(map(cut, made().steps)))
    assert tiles(few)[2].name == "p95 at 80 a second"
    texts = parsed(page(few)).text_of("text")
    assert texts.count("p95 of service time") == 2
    assert "p95" in texts
    assert not {"p99", "p99.9", "p99 of service time"} & set(texts)
    none = replace(few, knee=None, rows=(replace(row("all", "all"), response=()),))
    assert (tiles(none)[2].value, tiles(none)[2].meaning) == ("–", "too few requests to say")


def test_hostile_names_are_shown_and_do_nothing() -> None:
    """Models, faults and options add no element and no attribute, on the page and in its drawings."""

    def told(text: str) -> str:
        report = made(models=(f"a{text}", f"b{text}"), bins=6)
        return page(
            replace(
                report,
                timeline=tuple(found for found in report.timeline if found.group == "model"),
                arms=(),
                capacity={"sentences": [text], "autoscaling": {"hpa": text}},
                headline=(text, text),
                summary=text,
                target=text,
                options={text: text},
                failures=(replace(report.failures[0], fault=text),),
                comparisons=(compared(text, 1.0, "same"),),
                steps=tuple(replace(step(place), name=text) for place in range(3)),
            )
        )

    plain, found = parsed(told("x")), parsed(told(HOSTILE))
    assert found.tags == plain.tags
    assert [name for _, name, _ in found.attributes] == [name for _, name, _ in plain.attributes]
    assert "<script>alert(1)</script>" in found.text
    assert "b<script>" in " ".join(found.text_of("text"))
    assert not set(found.text) & set("\x00\ud800\u202e")


def test_the_same_report_gives_the_same_bytes() -> None:
    """A page can be compared with itself, also after its report was kept as JSON."""
    report = replace(made(bins=6), timeline=(), gateway=(), steps=(), capacity=None)
    assert page(report) == page(cleaned(report))


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    """The picture can be drawn from a run that was made before."""
    (tmp_path / "report.json").write_text(made(bins=6).to_json(), "utf-8")
    assert read_baseline(tmp_path).report.to_json() == made(bins=6).to_json()
    assert json.loads(made(bins=6).to_json())["format"] == 1


@pytest.mark.slow
def test_seven_models_stay_below_a_megabyte() -> None:
    """A page of a large run can still be sent by mail."""
    text = page(made(models=tuple(f"model{number}" for number in range(7)), bins=240))
    assert len(text.encode()) < 1_000_000


def test_numbers_have_three_telling_digits() -> None:
    """In a table with its units in the head; shares are percent, what is not known is a dash."""
    assert [three(value) for value in (None, 0.0, 0.01234, 1.239, 57.5646, 999.6, 12345.0)] == [
        "–",
        "0",
        "0.012",
        "1.24",
        "57.6",
        "1,000",
        "12,345",
    ]
    throughput, failures, median = figures(120.0, 100)[:3]
    assert (bare(throughput), ends(throughput)) == ("100", "97.0–103")
    assert (bare(failures), ends(failures)) == ("16.7", "")
    assert (bare(None), bare(replace(median, value=None)), ends(None)) == ("–", "–", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(20.0, "20 s"), (119.0, "119 s"), (150.0, "2.5 minutes"), (9e3, "2.5 hours")]
)
def test_stretches_of_time_are_written_for_people(seconds: float, text: str) -> None:
    """In the largest unit of which there are two."""
    assert lasting(seconds) == text


def test_a_report_is_cleaned_without_a_change_of_its_figures() -> None:
    """Texts lose what cannot be shown; everything else is as before."""
    assert cleaned(made()).to_json() == made().to_json()
    assert cleaned(replace(made(), target="a\x00b")).target == "a\ufffdb"
