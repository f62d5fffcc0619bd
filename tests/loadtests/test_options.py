"""What the locustfiles' options may be."""

from __future__ import annotations

import configargparse  # type: ignore[import-untyped] # what Locust's parser is made of
import pytest

from loadtests.outcome import Slo
from loadtests.shapes import Shape
from loadtests.swarm.options import OptionError, Options, add_options


class LocustsParser(configargparse.ArgumentParser):  # type: ignore[misc] # it has no types
    """As Locust's, without importing that: it would change Python's library in this process."""

    def __init__(self) -> None:
        """Know of options that are kept from the web UI."""
        super().__init__()
        self.hidden: set[str] = set()

    def add_argument(self, *names: str, include_in_web_ui: bool = True, **properties: object) -> object:
        """See argparse."""
        if not include_in_web_ui:
            self.hidden.update(names)
        return super().add_argument(*names, **properties)


def parser() -> LocustsParser:
    """With Locust's options that ours look at."""
    made = LocustsParser()
    made.add_argument("-u", dest="num_users", type=int)
    made.add_argument("-r", dest="spawn_rate", type=float)
    made.add_argument("-t", dest="run_time", type=int)
    made.add_argument("--headless", action="store_true")
    add_options(made)
    return made


def read(line: str) -> Options:
    """From a command line."""
    return Options.read(parser().parse_args(line.split()))


def test_without_any_option_the_loop_is_closed_and_goes_as_locust_says() -> None:
    """And nothing stops it."""
    options = read("-u 5 -r 2 -t 30")
    assert (options.loop, options.shape, options.trace) == ("closed", None, None)
    assert (options.users, options.spawn_rate, options.run_time_s) == (5, 2.0, 30)
    assert options.slo == Slo(p99_ms=1000, failures=0.01, for_s=None)
    assert (options.result, options.exchanges, options.token) == (None, None, "")
    assert read("").run_time_s is None


def test_options_are_read_as_what_they_mean() -> None:
    """Names by comma, a shape, a promise."""
    options = read("--loop open --shape 5@1:3 --models a,,b --slo-ms 50 --slo-for 3 --slo-failures 0")
    assert options.models == ("a", "b")
    assert options.shape == Shape.parse("5@1:3")
    assert options.slo == Slo(p99_ms=50, failures=0, for_s=3)


def test_the_token_comes_from_the_environment_and_stays_out_of_the_web_ui(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No list of processes and no page shows it; nor may a page's visitor name files to be written."""
    monkeypatch.setenv("ATTNSERVE_TOKEN", "hush-hush")
    assert read("").token == "hush-hush"  # noqa: S105  a made-up one
    assert parser().hidden == {"--remote", "--token", "--result", "--exchanges"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--loop open", "--loop: open needs either --shape or --trace"),
        ("--loop open --shape 1@1 --trace file", "--loop: open needs either --shape or --trace"),
        ("--trace file", "--trace: is for the open loop"),
        ("--shape 10", "--shape: .*'10' is no segment"),
        ("--slots 0", "--slots: is 0, must be above 0"),
        ("--slo-ms 0", "--slo-ms: is 0.0, must be above 0"),
        ("--deadline-ms -1", "--deadline-ms: is -1.0, must be at least 0"),
        ("--models ,", "--models: is empty"),
    ],
)
def test_a_message_names_the_option_and_the_rule(line: str, message: str) -> None:
    """Whatever makes no sense."""
    with pytest.raises(OptionError, match=message):
        read(line)
