"""An A/A trial: an experiment whose two arms are one version of one model, for as long as a load lasts.

A design may name the same version in two arms, so nothing has to be copied. Whatever is found to differ
between them is made by the gateway, by the load, or by chance, and a comparison that calls it a difference
cannot be trusted with two models that do differ.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import httpx

from loadtests.bearer import bearer
from serve.client import ClientError, public_error
from serve.experiment_client import ExperimentClient, Json, experiments_at

ARMS: Final = ("control", "twin")
# What the gateway's own verdict is about: something that is known without labels, and that the mode can tell.
PRIMARY_METRICS: Final[Mapping[str, str]] = MappingProxyType(
    {"split": "latency_p99", "shadow": "agreement", "paired": "agreement"}
)
REASON: Final = "an A/A trial of the load tests"
# Changes come into force after two polls of the ledger, records reach it within one; both are settings.
PATIENCE_S: Final = 30.0
POLL_S: Final = 0.1
TIMEOUT_S: Final = 10.0
_HALF: Final = 5000  # weights are in 1/10 000

_REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "experiments are disabled": "set experiments.enabled in its configuration",
        "this needs 'operate'": "give a token with the role operate (attnserve token NAME --role operate)",
        "expected 'Bearer": "give a token with the role operate",
    }
)


class TrialError(Exception):
    """The trial cannot be run, or not be evaluated; the message says what to do where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """What is compared with itself.

    Attributes:
        model: Its name.
        version: Of both arms; "" is the highest that the gateway knows.
        mode: split (each unit gets one of the arms), shadow or paired (the control answers, and the other
            arm is asked as well).
    """

    model: str
    version: str = ""
    mode: str = "split"

    def __post_init__(self) -> None:
        if self.mode not in PRIMARY_METRICS:
            raise TrialError(f"mode: is {self.mode!r}, must be one of {', '.join(PRIMARY_METRICS)}")

    def design(self, name: str, version: str) -> Mapping[str, Any]:
        """What the gateway is asked to create."""
        weight = {} if self.mode == "shadow" else {"weight": _HALF}
        arms = [{"name": arm, "model": self.model, "version": version, **weight} for arm in ARMS]
        return {"name": name, "mode": self.mode, "arms": arms, "primary_metric": PRIMARY_METRICS[self.mode]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An experiment that is in force, or was.

    Attributes:
        name: What the load asks for in place of the model.
        twins: What it compares.
    """

    name: str
    twins: Twins
    _client: ExperimentClient
    _say: Callable[[str], None]

    def report(self, answered: int = 0) -> Json:
        """The gateway's own verdict, and every figure behind it; to be asked for while the trial runs.

        The gateway writes calls down while it answers others, so its report may be a moment behind.

        Args:
            answered: Requests that the trial answered, as the load counted them: the report is waited for
                until it knows of so many. When it never does, that is said.

        Raises:
            TrialError: There is none.
        """
        found: Json = {}

        def complete() -> bool:
            found.update(self._client.report(self.name))
            return _answered(found) >= answered

        with _explained("the report cannot be read"):
            if not _within_patience(complete):
                self._say(
                    f"{self.name}: of {answered} requests that were answered the gateway's report knows "
                    f"{_answered(found)}; attnserve_experiment_dropped_total counts records that were lost"
                )
        return found


@contextmanager
def running_trial(url: str, token: str, twins: Twins, say: Callable[[str], None]) -> Iterator[Trial]:
    """Create and start a trial, wait until requests meet it, and stop it at the end.

    The series of an experiment leave the gateway's metrics when it stops: read them before. Its report stays.

    Args:
        url: http://host:port of the gateway.
        token: Bearer token with the role operate; "" sends none.
        twins: What to compare.
        say: Is told, a line each, what went wrong and need not end a run: an experiment that is left behind
            because the gateway did not stop it, a report that lacks requests.

    Raises:
        TrialError: It cannot be created or started; nothing is left behind then but what was said.
    """
    with ExitStack() as stack:
        with _explained("the gateway cannot be asked"):
            client = stack.enter_context(experiments_at(url, token))
        version = twins.version or _highest_version(url, token, twins.model)
        name = _fresh_name()
        with _explained("the experiment cannot be created"):
            client.create(twins.design(name, version), REASON)
        stack.callback(_stop, client, name, say)
        _start(client, name)
        yield Trial(name=name, twins=twins, _client=client, _say=say)


def _fresh_name() -> str:
    # An experiment's name is never used twice, not even after its end.
    return f"aa-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def _highest_version(url: str, token: str, model: str) -> str:
    address = f"{url}/v2/models/{quote(model, safe='')}"
    try:
        response = httpx.get(address, headers=bearer(token), timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        raise TrialError(f"{address}: {str(error) or type(error).__name__}") from None
    if not response.is_success:
        raise TrialError(f"{address}: {response.status_code}: {public_error(response)}")
    try:
        return str(max(map(int, response.json()["versions"])))
    except (ValueError, KeyError, TypeError):
        raise TrialError(f"{address}: does not answer like a gateway; is it one?") from None


def _start(client: ExperimentClient, name: str) -> None:
    with _explained("the experiment cannot be started"):
        version = client.act(name, "start", {"reason": REASON}, None)["version"]
        if not _within_patience(lambda: client.assign(name, "anybody")["version"] >= version):
            raise TrialError(
                f"{name}: is not in force {PATIENCE_S:.0f} s after its start; does the gateway reach its "
                "store, and is experiments.poll_interval_s short?"
            )


def _stop(client: ExperimentClient, name: str, say: Callable[[str], None]) -> None:
    try:
        client.act(name, "stop", {"reason": REASON}, None)
    except ClientError as error:
        say(
            f"the experiment {name!r} is left behind, as it could not be stopped ({error}); "
            f"later: attnserve experiment stop {name} --reason 'left behind'"
        )


def _within_patience(holds: Callable[[], bool]) -> bool:
    ends = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(POLL_S)
    return True


def _answered(report: Json) -> int:
    """Calls of callers that were answered; in shadow and paired mode those of the control."""
    calls = {curve["arm"]: int(curve["calls"]) for curve in report["latency_curves"]}
    return sum(calls.values()) if report["mode"] == "split" else calls.get(report["control"], 0)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        text = str(error)
        remedy = next((f"; {remedy}" for sign, remedy in _REMEDIES.items() if sign in text), "")
        raise TrialError(f"{what}: {text}{remedy}") from None
