"""Experiments over gRPC, through a real server on the loopback."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2

from serve.core.access import Access, Role, Token
from serve.core.record import Receipt
from serve.edge.experiments_grpc import SERVICE_NAME, ExperimentsGrpc
from serve.experiments.outcomes import LabelRow, OutcomeItem
from serve.pb import experiments_pb2 as pb
from serve.pb.experiments_pb2_grpc import ExperimentsStub
from tests.edge.doors import as_service, grpc_door
from tests.edge.fake_desk import PAIR, FakeDesk
from tests.edge.fakes import FakeService

Failing = Awaitable[object]
RawStream = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
RawRows = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
DESIGN = pb.Design(
    name="se-vs-eca",
    mode=pb.MODE_PAIRED,
    arms=[
        pb.Arm(name="se", model="digits_se", version="1", weight=5000),
        pb.Arm(name="eca", model="digits_eca", version="2", weight=5000),
    ],
    guardrails=pb.Guardrails(items=[pb.Guardrail(metric="error_rate")]),
)
WHY = "to see"
ME = "se-vs-eca"


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> ExperimentsStub:
    """Give the generated client."""
    return ExperimentsStub(channel)


@pytest.fixture
async def made(stub: ExperimentsStub) -> pb.Experiment:
    """Make an experiment."""
    answer: pb.Experiment = await stub.CreateExperiment(pb.CreateExperimentRequest(design=DESIGN, reason=WHY))
    return answer


@asynccontextmanager
async def _opened(
    fake: FakeService, desk: FakeDesk | None, access: Access | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        grpc_door(fake, access, desk=desk) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        yield channel


async def _failure(call: Failing) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_a_draft_is_made_and_found(stub: ExperimentsStub, made: pb.Experiment, desk: FakeDesk) -> None:
    """A reply has all of the design, defaults included, and the version's history."""
    assert (made.name, made.version, made.state, made.reason, made.author) == (
        ME, 1, pb.STATE_DRAFT, WHY, "anonymous",
    )  # fmt: skip
    assert (made.design.margin, made.design.ramp, made.design.pairs) == (0.01, 10_000, "one_per_unit")
    assert list(made.design.slots) == [0, 10_000]
    assert made.design.guardrails.items[0].max_ratio == 1.5
    assert not made.design.HasField("keep_images")
    assert made.effective_at.ToJsonString() == "2023-11-14T22:13:24.250Z"
    assert await stub.GetExperiment(pb.GetExperimentRequest(name=ME)) == made
    found = await stub.ListExperiments(pb.ListExperimentsRequest())
    assert [one.name for one in found.experiments] == [ME]
    assert desk.calls[0].protocol == "grpc"


async def test_only_what_is_named_changes(stub: ExperimentsStub, made: pb.Experiment) -> None:
    """Presence is change: 0 and an empty list count when they are said, and what is not said stays."""
    changes = pb.Design(
        ramp=0,
        arms=[pb.Arm(name="se", weight=9000), pb.Arm(name="eca", weight=1000)],
        guardrails=pb.Guardrails(),
        keep_images=pb.KeepImages(),
    )
    request = pb.UpdateExperimentRequest(name=ME, changes=changes, reason="slowly")
    changed = (await stub.UpdateExperiment(request)).design
    expected = pb.Design()
    expected.CopyFrom(made.design)
    expected.ramp = 0
    expected.arms[0].weight, expected.arms[1].weight = 9000, 1000
    expected.ClearField("guardrails")
    expected.guardrails.SetInParent()
    expected.keep_images.max_images, expected.keep_images.days = 100, 7.0
    assert changed == expected
    without = pb.Design(keep_images=pb.KeepImages(max_images=0))
    request = pb.UpdateExperimentRequest(name=ME, changes=without, reason="enough seen")
    assert not (await stub.UpdateExperiment(request)).design.HasField("keep_images")


async def test_a_change_of_another_version_is_aborted(stub: ExperimentsStub, made: pb.Experiment) -> None:
    """ABORTED tells a client to read anew and decide again."""
    assert made.version == 1
    update = pb.UpdateExperimentRequest(name=ME, changes=pb.Design(ramp=5), reason=WHY, if_version=7)
    act = pb.TransitionRequest(name=ME, act=pb.ACT_START, reason=WHY, if_version=7)
    alias = pb.SetAliasRequest(name="best", target="digits", reason=WHY, if_version=7)
    calls = (stub.UpdateExperiment(update), stub.Transition(act), stub.SetAlias(alias))
    for call in calls:
        assert (await _failure(call))[0] is grpc.StatusCode.ABORTED
    act.if_version = 1
    assert (await stub.Transition(act)).state == pb.STATE_RUNNING


async def test_a_whole_life(stub: ExperimentsStub, made: pb.Experiment) -> None:
    """Each act leads to its state; the audit has every version."""
    assert made.state == pb.STATE_DRAFT
    steps = [
        (pb.TransitionRequest(act=pb.ACT_START), pb.STATE_RUNNING),
        (pb.TransitionRequest(act=pb.ACT_RAMP, ramp=800), pb.STATE_RUNNING),
        (pb.TransitionRequest(act=pb.ACT_PAUSE), pb.STATE_PAUSED),
        (pb.TransitionRequest(act=pb.ACT_RESUME), pb.STATE_RUNNING),
        (pb.TransitionRequest(act=pb.ACT_PROMOTE, arm="eca"), pb.STATE_PROMOTED),
        (pb.TransitionRequest(act=pb.ACT_ROLLBACK), pb.STATE_ROLLED_BACK),
    ]
    for step, state in steps:
        request = pb.TransitionRequest(name=ME, reason="because")
        request.MergeFrom(step)
        answer = await stub.Transition(request)
        assert answer.state == state
        assert answer.winner == ("eca" if state == pb.STATE_PROMOTED else "")
    again = pb.TransitionRequest(name=ME, act=pb.ACT_START, reason=WHY)
    assert (await _failure(stub.Transition(again)))[0] is grpc.StatusCode.FAILED_PRECONDITION
    audit = await stub.GetAudit(pb.GetAuditRequest(name=ME))
    assert [one.act for one in audit.versions] == [
        "create", "start", "ramp", "pause", "resume", "promote", "rollback",
    ]  # fmt: skip
    assert audit.versions[2].design.ramp == 800


async def test_what_is_wrong_is_named(stub: ExperimentsStub, made: pb.Experiment) -> None:
    """Missing reasons and acts, words that the protocol does not have, rows that are too many."""
    assert made.version == 1
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    no_reason = pb.TransitionRequest(name=ME, act=pb.ACT_START)
    reason = "reason: has 0 characters, must say why in 1 to 500"
    assert await _failure(stub.Transition(no_reason)) == (invalid, reason)
    no_act = pb.TransitionRequest(name=ME, reason=WHY)
    assert (await _failure(stub.Transition(no_act)))[1].startswith("act: is missing")
    odd = pb.TransitionRequest.FromString(
        pb.TransitionRequest(name=ME, reason=WHY).SerializeToString() + b"\x10\x63"
    )
    assert (await _failure(stub.Transition(odd)))[1] == "act: is 99, which is no value of Act"
    no_mode = pb.Design(name="x", arms=DESIGN.arms)
    code, message = await _failure(
        stub.CreateExperiment(pb.CreateExperimentRequest(design=no_mode, reason=WHY))
    )
    assert (code, message) == (invalid, "mode: is missing")
    plan = pb.PlanExperimentRequest(design=DESIGN, units_per_day=float("nan"))
    assert (await _failure(stub.PlanExperiment(plan)))[1] == "units_per_day: is nan, must be above 0"
    many = pb.RecordOutcomesRequest(name=ME, outcomes=[pb.OutcomeItem(label="7")] * 10_001)
    assert (await _failure(stub.RecordOutcomes(many)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await _failure(stub.GetExperiment(pb.GetExperimentRequest(name="x"))))[0] is (
        grpc.StatusCode.NOT_FOUND
    )


async def test_a_plan_creates_nothing(stub: ExperimentsStub, desk: FakeDesk) -> None:
    """What a design would need, as a document."""
    answer = await stub.PlanExperiment(pb.PlanExperimentRequest(design=DESIGN, units_per_day=900))
    assert dict(answer.plan) == {"units": 7847, "days": None}
    await stub.PlanExperiment(pb.PlanExperimentRequest(design=DESIGN))
    assert desk.planned == [900.0, None]
    assert desk.list() == ()


async def test_the_report_has_types_and_all_the_rest(stub: ExperimentsStub, made: pb.Experiment) -> None:
    """Verdict and rows as fields, what cannot be told left out; the whole as a document."""
    answer = await stub.GetReport(pb.GetReportRequest(name=made.name))
    assert (answer.verdict, answer.version) == (pb.VERDICT_NO_DIFFERENCE, 3)
    [row] = answer.rows
    assert (row.metric, row.arm, row.n, row.low) == ("accuracy", "eca", 400, -0.004)
    assert row.HasField("estimate")
    assert not row.HasField("high")
    assert not row.HasField("log_e")
    assert answer.report["rows"][0]["definition"] == row.definition == "right answers / labelled images"
    assert answer.at.ToJsonString() == "2023-11-14T22:13:20.250Z"


async def test_a_unit_hears_what_it_would_get(stub: ExperimentsStub, made: pb.Experiment) -> None:
    """With the arm, its model, and every hash that was looked at."""
    await stub.Transition(pb.TransitionRequest(name=made.name, act=pb.ACT_START, reason=WHY))
    told = await stub.Assign(pb.AssignRequest(name=ME, unit="Zoë"))
    assert (told.arm, told.model, told.model_version, told.assignment) == ("se", "digits_se", "1", "hash")
    assert [check.question for check in told.checks] == ["holdout", "slot", "ramp", "arm"]


async def test_ten_thousand_outcomes_in_one_call(
    made: pb.Experiment, fake: FakeService, desk: FakeDesk
) -> None:
    """Each has its own receipt, in the order in which they came; other methods take no message so large."""
    assert made.version == 1
    async with _opened(fake, desk) as channel:
        wide = ExperimentsStub(channel)
        outcomes = [
            pb.OutcomeItem(feedback_token=f"good{'x' * 120}{index}", label="7", item=1)
            for index in range(9_999)
        ]
        outcomes.append(pb.OutcomeItem(feedback_token="bad", label="7"))  # noqa: S106  a word of the interface
        answer = await wide.RecordOutcomes(pb.RecordOutcomesRequest(name=ME, outcomes=outcomes))
        assert [one.receipt for one in answer.outcomes] == [
            *[pb.RECEIPT_ACCEPTED] * 9_999, pb.RECEIPT_UNKNOWN_TOKEN,
        ]  # fmt: skip
        large = pb.RecordOutcomesRequest(name="x" * (4 << 20))
        code, message = await _failure(wide.RecordOutcomes(large))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert message.endswith("those of this method at most 4194304")
    first = desk.told[0]
    assert isinstance(first, OutcomeItem)
    assert (first.label, first.item) == ("7", 1)


async def test_labels_by_prediction(stub: ExperimentsStub, made: pb.Experiment, desk: FakeDesk) -> None:
    """With the same receipts; a store that is down accepts nothing."""
    request = pb.ImportLabelsRequest(
        name=made.name, labels=[pb.Label(prediction=PAIR.prediction, item=1, label="three")]
    )
    answer = await stub.ImportLabels(request)
    assert [one.receipt for one in answer.labels] == [pb.RECEIPT_ACCEPTED]
    assert desk.told == [LabelRow(prediction=PAIR.prediction, item=1, label="three")]
    desk.is_down = True
    assert (await _failure(stub.ImportLabels(request)))[0] is grpc.StatusCode.UNAVAILABLE


async def test_pairs_come_row_by_row(stub: ExperimentsStub, made: pb.Experiment, desk: FakeDesk) -> None:
    """What an arm did not answer is empty; who goes away lets go of the ledger."""
    rows = [row async for row in stub.StreamPairs(pb.StreamPairsRequest(name=made.name))]
    assert [row.label for row in rows] == ["three", ""]
    assert [(one.label, one.confidence) for one in rows[0].answers] == [("three", 0.75), ("=cmd()", 0.5)]
    assert not rows[1].answers[1].HasField("confidence")
    desk.pairs_given = 10**9
    call = stub.StreamPairs(pb.StreamPairsRequest(name=ME))
    assert await call.read() == rows[0]
    call.cancel()
    await desk.let_go.wait()
    missing = stub.StreamPairs(pb.StreamPairsRequest(name="x"))
    assert (await _failure(missing.read()))[0] is grpc.StatusCode.NOT_FOUND


async def test_aliases(stub: ExperimentsStub) -> None:
    """Set, and listed."""
    made = await stub.SetAlias(pb.SetAliasRequest(name="best", target="digits:1", reason=WHY))
    assert (made.version, made.target, made.reason) == (1, "digits:1", WHY)
    assert list((await stub.ListAliases(pb.ListAliasesRequest())).aliases) == [made]


async def test_tools_find_the_service(channel: grpc.aio.Channel) -> None:
    """By reflection, with the file that describes it and those that it needs."""
    ask: RawStream = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE_NAME)
    data = await anext(aiter(ask(iter([question.SerializeToString()]))))
    answer = reflection_pb2.ServerReflectionResponse.FromString(data)
    files = [
        FileDescriptorProto.FromString(one) for one in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert {service.name for file in files for service in file.service} == {"Experiments"}
    assert {name for file in files for name in file.dependency} <= {file.name for file in files}


METHODS = {
    **{name: rpc.needs for name, rpc in ExperimentsGrpc(as_service(FakeService()), None).unary().items()},
    "StreamPairs": Role.OPERATE,
}
INFER = {
    "ListExperiments", "GetExperiment", "GetReport", "GetAudit", "Assign", "RecordOutcomes", "ListAliases",
}  # fmt: skip


def test_every_method_of_the_protocol_is_there() -> None:
    """And those that only read, or tell outcomes, are for all with a token."""
    described = pb.DESCRIPTOR.services_by_name["Experiments"].methods_by_name
    assert METHODS.keys() == set(described)
    assert {name for name, role in METHODS.items() if role is Role.INFER} == INFER


async def test_who_may_do_what(fake: FakeService, desk: FakeDesk) -> None:
    """Without the role a call is refused, and taken down where it would have changed something."""
    access = Access(
        tokens=(Token(name="app", role=Role.INFER, sha256=hashlib.sha256(b"secret").hexdigest()),)
    )
    metadata = (("authorization", "Bearer secret"),)
    async with _opened(fake, desk, access) as channel:
        for name in METHODS:
            fake.denials.clear()
            call = _call(channel, name)
            assert (await _failure(call(b"")))[0] is grpc.StatusCode.UNAUTHENTICATED
            if name.startswith("List"):
                await call(b"", metadata=metadata)
            else:
                expected = "NOT_FOUND" if name in INFER else "PERMISSION_DENIED"
                assert (await _failure(call(b"", metadata=metadata)))[0].name == expected
            assert len(fake.denials) == (0 if name in INFER else 2)


async def test_a_gateway_without_experiments_says_so(fake: FakeService) -> None:
    """Every method is there, and names the setting."""
    requests: dict[str, Message] = {
        "CreateExperiment": pb.CreateExperimentRequest(reason=WHY),
        "UpdateExperiment": pb.UpdateExperimentRequest(reason=WHY),
        "Transition": pb.TransitionRequest(reason=WHY, act=pb.ACT_STOP),
        "SetAlias": pb.SetAliasRequest(reason=WHY),
    }
    async with _opened(fake, None) as channel:
        for name in METHODS:
            data = requests[name].SerializeToString() if name in requests else b""
            assert await _failure(_call(channel, name)(data)) == (
                grpc.StatusCode.UNIMPLEMENTED,
                "experiments are disabled on this gateway (experiments.enabled)",
            )


async def test_what_an_operator_sends_wrong_is_taken_down(stub: ExperimentsStub, fake: FakeService) -> None:
    """With whose it was, and what it was about."""
    await _failure(stub.Transition(pb.TransitionRequest(name=ME, act=pb.ACT_STOP)))
    [(act, _)] = fake.denials
    assert (act.name, act.target, act.principal) == ("stop_experiment", ME, "anonymous")


def test_receipts_are_those_of_the_core() -> None:
    """Every one has its number."""
    assert {f"RECEIPT_{receipt.name}" for receipt in Receipt} == set(pb.Receipt.keys()) - {
        "RECEIPT_UNSPECIFIED"
    }


def _call(channel: grpc.aio.Channel, name: str) -> Callable[..., Failing]:
    """A method as bytes; of one that is answered row by row the first row."""
    path = f"/{SERVICE_NAME}/{name}"
    if name != "StreamPairs":
        return channel.unary_unary(path)
    stream: RawRows = channel.unary_stream(path)

    async def first(data: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> object:
        return await stream(data, metadata=metadata).read()

    return first
