"""How the end of a token is written."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serve.core.expiry import expiry


@pytest.mark.parametrize("written", ["2030-12-31", date(2030, 12, 31), yaml.safe_load("2030-12-31")])
def test_a_day_lasts_to_its_end_in_utc(written: object) -> None:
    """As text, and as YAML reads it without quotes; 23:59:59 is 1924991999 (`date --utc +%s`)."""
    assert expiry(written).timestamp() == 1_924_991_999


@pytest.mark.parametrize("written", ["2030-12-31T18:00:00Z", "2030-12-31T20:00:00+02:00", "20301231T18Z"])
def test_a_moment_has_a_zone(written: str) -> None:
    """The same one in three ways, as text and as YAML reads it."""
    meant = datetime(2030, 12, 31, 18, tzinfo=UTC)
    assert expiry(written) == expiry(yaml.safe_load(written)) == meant


@pytest.mark.parametrize(
    "written",
    [
        "2030-12-31T18:00:00",
        yaml.safe_load("2030-12-31 18:00:00"),
        "soon",
        "",
        "2030-02-30",
        1924991999,
        True,
    ],
)
def test_what_is_neither_is_told_how_to_write_it(written: object) -> None:
    """A number could be seconds or days, and a time without a zone is another one in each place."""
    with pytest.raises(ValueError, match="must be a date, 2030-12-31, or a time with a zone"):
        expiry(written)


@given(st.datetimes(timezones=st.timezones()) | st.dates())
def test_what_python_writes_is_read(moment: date) -> None:
    """Every date and every moment with a zone, to the end of the calendar."""
    assert expiry(moment.isoformat()).isoformat() == expiry(moment).isoformat()
