"""The methods of `attnserve.v1.Experiments`: a parsed message in, the desk asked, a message out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, aclosing
from typing import Any

from serve.audit import Act
from serve.core.access import Role
from serve.core.call import Call
from serve.core.errors import InvalidRequestError
from serve.edge import experiments_proto as codec
from serve.edge.desk import Desk, checked_reason, opened
from serve.edge.experiments_bodies import CREATED, check_count
from serve.edge.experiments_json import encode_report, plain
from serve.edge.grpc_methods import RowsRpc, Rpc
from serve.edge.refusals import denials
from serve.edge.tensors import show
from serve.pb import experiments_pb2 as pb
from serve.service import Service

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["Experiments"].full_name


class ExperimentsGrpc:
    """The methods; each takes a parsed request and its circumstances."""

    def __init__(self, service: Service, desk: Desk | None) -> None:
        """Answer nothing yet; without a desk every method says that experiments are disabled."""
        self._service = service
        self._desk = desk

    def unary(self) -> Mapping[str, Rpc]:
        """All methods but those that are answered row by row."""
        infer, operate = Role.INFER, Role.OPERATE
        return {
            "PlanExperiment": Rpc(pb.PlanExperimentRequest, operate, self.plan_experiment),
            "CreateExperiment": Rpc(pb.CreateExperimentRequest, operate, self.create_experiment),
            "ListExperiments": Rpc(pb.ListExperimentsRequest, infer, self.list_experiments),
            "GetExperiment": Rpc(pb.GetExperimentRequest, infer, self.get_experiment),
            "UpdateExperiment": Rpc(pb.UpdateExperimentRequest, operate, self.patch_experiment),
            "Transition": Rpc(pb.TransitionRequest, operate, self.transition),
            "GetReport": Rpc(pb.GetReportRequest, infer, self.get_report),
            "GetAudit": Rpc(pb.GetAuditRequest, infer, self.get_audit),
            "Assign": Rpc(pb.AssignRequest, infer, self.assign_unit),
            "RecordOutcomes": Rpc(pb.RecordOutcomesRequest, infer, self.record_outcomes, bulk=True),
            "ImportLabels": Rpc(pb.ImportLabelsRequest, operate, self.import_labels, bulk=True),
            "ListAliases": Rpc(pb.ListAliasesRequest, infer, self.list_aliases),
            "SetAlias": Rpc(pb.SetAliasRequest, operate, self.put_alias),
        }

    def rows(self) -> Mapping[str, RowsRpc]:
        """Methods that are answered row by row."""
        return {"StreamPairs": RowsRpc(pb.StreamPairsRequest, Role.OPERATE, self.get_pairs)}

    async def plan_experiment(
        self, request: pb.PlanExperimentRequest, _call: Call
    ) -> pb.PlanExperimentResponse:
        """What a design would need."""
        units_per_day = request.units_per_day if request.HasField("units_per_day") else None
        if units_per_day is not None and not 0 < units_per_day < float("inf"):
            raise InvalidRequestError(f"units_per_day: is {show(units_per_day)}, must be above 0")
        plan = await opened(self._desk).plan(codec.decode_design(request.design), units_per_day)
        return pb.PlanExperimentResponse(plan=codec.encode_struct(plain(plan)))

    async def create_experiment(self, request: pb.CreateExperimentRequest, call: Call) -> pb.Experiment:
        """Make a draft."""
        with self._denials("create_experiment", request.design.name, call):
            reason = checked_reason(request.reason or CREATED)
            design = codec.decode_design(request.design)
        return codec.encode_experiment(await opened(self._desk).create(design, reason, call))

    async def list_experiments(
        self, _request: pb.ListExperimentsRequest, _call: Call
    ) -> pb.ListExperimentsResponse:
        """Every experiment in its newest version."""
        found = opened(self._desk).list()
        return pb.ListExperimentsResponse(experiments=map(codec.encode_version, found))

    async def get_experiment(self, request: pb.GetExperimentRequest, _call: Call) -> pb.Experiment:
        """An experiment in its newest version."""
        return codec.encode_experiment(opened(self._desk).get(request.name))

    async def patch_experiment(self, request: pb.UpdateExperimentRequest, call: Call) -> pb.Experiment:
        """Change what the message names, and nothing else."""
        with self._denials("patch_experiment", request.name, call):
            reason = checked_reason(request.reason)
            changes = codec.decode_design(request.changes)
        desk, version = opened(self._desk), codec.if_version(request)
        return codec.encode_experiment(await desk.patch(request.name, changes, reason, version, call))

    async def transition(self, request: pb.TransitionRequest, call: Call) -> pb.Experiment:
        """Start, ramp, pause, resume, promote, roll back or stop."""
        with self._denials("transition", request.name, call):
            act = codec.decode_act(request)
        with self._denials(f"{act}_experiment", request.name, call):
            asked = codec.decode_transition(request)
        return codec.encode_experiment(await opened(self._desk).act(request.name, act, asked, call))

    async def get_report(self, request: pb.GetReportRequest, _call: Call) -> pb.GetReportResponse:
        """The verdict, and every figure behind it."""
        report = await opened(self._desk).report(request.name)
        return await asyncio.to_thread(lambda: codec.encode_report(encode_report(report)))

    async def get_audit(self, request: pb.GetAuditRequest, _call: Call) -> pb.GetAuditResponse:
        """Every version that there was, oldest first."""
        versions = await opened(self._desk).audit(request.name)
        return pb.GetAuditResponse(versions=map(codec.encode_version, versions))

    async def assign_unit(self, request: pb.AssignRequest, _call: Call) -> pb.AssignResponse:
        """What a unit would get, and why."""
        desk = opened(self._desk)
        arms = desk.get(request.name).design.arms
        return codec.encode_explanation(desk.assign(request.name, request.unit), arms)

    async def record_outcomes(
        self, request: pb.RecordOutcomesRequest, call: Call
    ) -> pb.RecordOutcomesResponse:
        """True labels, by feedback tokens."""
        check_count(len(request.outcomes), "outcomes")
        items = codec.decode_outcomes(request.outcomes)
        answers = await opened(self._desk).outcomes(request.name, items, call)
        return pb.RecordOutcomesResponse(outcomes=codec.encode_receipts(answers))

    async def import_labels(self, request: pb.ImportLabelsRequest, call: Call) -> pb.ImportLabelsResponse:
        """True labels, by predictions' ids."""
        with self._denials("import_labels", request.name, call):
            check_count(len(request.labels), "labels")
        rows = codec.decode_labels(request.labels)
        answers = await opened(self._desk).labels(request.name, rows, call)
        return pb.ImportLabelsResponse(labels=codec.encode_receipts(answers))

    async def get_pairs(self, request: pb.StreamPairsRequest, _call: Call) -> AsyncIterator[pb.Pair]:
        """Every image that was answered, raw."""
        async with aclosing(await opened(self._desk).pairs(request.name)) as rows:
            async for row in rows:
                yield codec.encode_pair(row)

    async def list_aliases(self, _request: pb.ListAliasesRequest, _call: Call) -> pb.ListAliasesResponse:
        """Every alias, and where it points."""
        found = opened(self._desk).aliases()
        return pb.ListAliasesResponse(aliases=map(codec.encode_alias, found))

    async def put_alias(self, request: pb.SetAliasRequest, call: Call) -> pb.Alias:
        """Make an alias, or point it elsewhere."""
        with self._denials("put_alias", request.name, call):
            reason = checked_reason(request.reason)
        desk, version = opened(self._desk), codec.if_version(request)
        return codec.encode_alias(await desk.put_alias(request.name, request.target, reason, version, call))

    def _denials(self, act: str, target: str, call: Call) -> AbstractContextManager[Any]:
        return denials(self._service, Act(name=act, target=target, protocol="grpc", principal=call.principal))
