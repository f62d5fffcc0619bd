"""Both doors over one real desk and ledger: what one writes, the other reads."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx

from serve.core.access import Access
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.pb import experiments_pb2 as pb
from serve.pb.experiments_pb2_grpc import ExperimentsStub
from tests.edge.doors import as_service, grpc_door
from tests.edge.fakes import FakeService
from tests.experiments.gateway import POLL_S, Gateway, calls, design, gateways

ME = "se-or-eca"
ONE = f"/v1/experiments/{ME}"
WHY = {"reason": "to see"}


@asynccontextmanager
async def _doors(gateway: Gateway) -> AsyncIterator[tuple[httpx.AsyncClient, ExperimentsStub]]:
    fake = FakeService()
    app = build_rest_app(as_service(fake), Access(), EdgeLimits(), gateway.desk)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as rest,
        grpc_door(fake, desk=gateway.desk) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        yield rest, ExperimentsStub(channel)


async def test_what_one_door_writes_the_other_reads(tmp_path: Path) -> None:
    """Planned and made over REST, started over gRPC; an older version is not changed; all is audited."""
    async with gateways(tmp_path) as [gateway]:
        async with _doors(gateway) as (rest, stub):
            plan = await rest.post("/v1/experiments?dry_run=true&units_per_day=500", json=design())
            assert plan.json()["units"] > 0
            made = await rest.post("/v1/experiments", json={**design(), **WHY})
            assert (made.status_code, made.json()["version"]) == (201, 1)
            act = pb.TransitionRequest(name=ME, act=pb.ACT_START, reason="now", if_version=1)
            started = await stub.Transition(act)
            assert (started.state, started.version) == (pb.STATE_RUNNING, 2)
            late = await rest.patch(ONE, json={"ramp": 5, **WHY}, headers={"If-Match": '"1"'})
            assert late.status_code == 412
            assert (await rest.get(ONE)).json()["version"] == 2
        gateway.audit.close()
        acts = [(line["act"], line["protocol"], line["outcome"]) for line in map(json.loads, gateway.lines)]
    assert acts == [
        ("create_experiment", "http", "ok"),
        ("start_experiment", "grpc", "ok"),
        ("patch_experiment", "http", "changed"),
    ]


async def test_both_doors_tell_the_same(tmp_path: Path) -> None:
    """An outcome told twice counts once; report and pairs have the same figures and rows."""
    async with gateways(tmp_path) as [gateway]:
        experiment = await gateway.started()
        records = [record for arm in (0, 1) for record in calls(experiment, arm, 20)]
        gateway.ledger.records.write(records, ())
        token = gateway.token(experiment, records[3].prediction, records[3].unit)
        await gateway.passes(POLL_S)
        async with _doors(gateway) as (rest, stub):
            told = {"outcomes": [{"feedback_token": token, "label": "3"}]}
            first = await rest.post(f"{ONE}/outcomes", json=told)
            assert first.json() == {"outcomes": [{"status": "accepted"}]}
            item = pb.OutcomeItem(feedback_token=token, label="3")
            again = await stub.RecordOutcomes(pb.RecordOutcomesRequest(name=ME, outcomes=[item]))
            assert again.outcomes[0].receipt == pb.RECEIPT_DUPLICATE
            document = (await rest.get(f"{ONE}/report")).json()
            typed = await stub.GetReport(pb.GetReportRequest(name=ME))
            assert (document["verdict"], typed.verdict) == (
                "insufficient_data", pb.VERDICT_INSUFFICIENT_DATA,
            )  # fmt: skip
            assert (typed.sentence, len(typed.rows)) == (document["sentence"], len(document["rows"]))
            table = (await rest.get(f"{ONE}/pairs.csv")).text.splitlines()
            pairs = [pair async for pair in stub.StreamPairs(pb.StreamPairsRequest(name=ME))]
    assert len(pairs) == len(records)
    assert [pair.prediction for pair in pairs] == [line.partition(",")[0] for line in table[1:]]
    assert [pair.label for pair in pairs].count("3") == 1
