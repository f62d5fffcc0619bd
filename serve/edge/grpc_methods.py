"""The methods of `inference.GRPCInferenceService`: a parsed message in, a message out, one Service behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from serve.audit import Act
from serve.core.access import Role
from serve.core.call import Call
from serve.core.messages import Parameter
from serve.edge import absent, oip_proto, oip_proto_catalog
from serve.edge.refusals import denials, refusals
from serve.pb import open_inference_pb2 as pb
from serve.service import Service


@dataclass(frozen=True, slots=True)
class Rpc:
    """A unary method: what it reads, which role it needs (None: open to all), what answers it.

    Attributes:
        infers: Whether a call that is refused before it is understood counts as an inference request.
        bulk: Whether it takes thousands of rows at once.
    """

    request: type[Message]
    needs: Role | None
    answer: Callable[[Any, Call], Awaitable[Message]]
    infers: bool = False
    bulk: bool = False


@dataclass(frozen=True, slots=True)
class RowsRpc:
    """A method that is answered row by row; otherwise as `Rpc`."""

    request: type[Message]
    needs: Role | None
    answer: Callable[[Any, Call], AsyncIterator[Message]]
    infers: bool = False
    bulk: bool = False


class InferenceApi:
    """The methods of `inference.GRPCInferenceService`; each takes a parsed request and its circumstances."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def unary(self) -> Mapping[str, Rpc]:
        """All methods but the stream. Whether something runs is open to all, as probes carry no token."""
        return {
            "ServerLive": Rpc(pb.ServerLiveRequest, None, self.server_live),
            "ServerReady": Rpc(pb.ServerReadyRequest, None, self.server_ready),
            "ModelReady": Rpc(pb.ModelReadyRequest, None, self.model_ready),
            "ServerMetadata": Rpc(pb.ServerMetadataRequest, Role.INFER, self.server_metadata),
            "ModelMetadata": Rpc(pb.ModelMetadataRequest, Role.INFER, self.model_metadata),
            "ModelInfer": Rpc(pb.ModelInferRequest, Role.INFER, self.model_infer, infers=True),
            "ModelConfig": Rpc(pb.ModelConfigRequest, Role.INFER, self.model_config),
            "ModelStatistics": Rpc(pb.ModelStatisticsRequest, Role.INFER, self.model_statistics),
            "RepositoryIndex": Rpc(pb.RepositoryIndexRequest, Role.INFER, self.repository_index),
            "RepositoryModelLoad": Rpc(pb.RepositoryModelLoadRequest, Role.OPERATE, self.load),
            "RepositoryModelUnload": Rpc(pb.RepositoryModelUnloadRequest, Role.OPERATE, self.unload),
            "SystemSharedMemoryStatus": Rpc(
                pb.SystemSharedMemoryStatusRequest, Role.INFER, self.system_shared_memory
            ),
            "SystemSharedMemoryUnregister": Rpc(
                pb.SystemSharedMemoryUnregisterRequest, Role.INFER, self.forget_system_shared_memory
            ),
            "CudaSharedMemoryStatus": Rpc(
                pb.CudaSharedMemoryStatusRequest, Role.INFER, self.cuda_shared_memory
            ),
            "CudaSharedMemoryUnregister": Rpc(
                pb.CudaSharedMemoryUnregisterRequest, Role.INFER, self.forget_cuda_shared_memory
            ),
            # Whatever they say; Empty reads every message, as one with fields that it does not know.
            **{name: Rpc(Empty, Role.INFER, _absent(what)) for name, what in absent.RPCS.items()},
        }

    async def server_live(self, _request: pb.ServerLiveRequest, _call: Call) -> pb.ServerLiveResponse:
        """Whether the process runs."""
        return pb.ServerLiveResponse(live=self._service.live())

    async def server_ready(self, _request: pb.ServerReadyRequest, _call: Call) -> pb.ServerReadyResponse:
        """Whether every model that the configuration pins can answer."""
        return pb.ServerReadyResponse(ready=self._service.ready())

    async def model_ready(self, request: pb.ModelReadyRequest, _call: Call) -> pb.ModelReadyResponse:
        """Whether one model can answer."""
        return pb.ModelReadyResponse(ready=self._service.model_ready(request.name, request.version))

    async def server_metadata(
        self, _request: pb.ServerMetadataRequest, _call: Call
    ) -> pb.ServerMetadataResponse:
        """Name, version, extensions."""
        return oip_proto_catalog.encode_server(self._service.server_metadata())

    async def model_metadata(self, request: pb.ModelMetadataRequest, _call: Call) -> pb.ModelMetadataResponse:
        """What a model takes and gives."""
        metadata = self._service.model_metadata(request.name, request.version)
        return oip_proto_catalog.encode_metadata(metadata)

    async def model_infer(self, request: oip_proto.InferMessage, call: Call) -> pb.ModelInferResponse:
        """One inference; the answer is raw if, and only if, the request was."""
        with refusals(self._service, call.protocol):
            decoded, raw = oip_proto.decode_infer(request.message, request.raw)
        return oip_proto.encode_infer(await self._service.infer(decoded, call), raw=raw)

    async def model_config(self, request: pb.ModelConfigRequest, _call: Call) -> pb.ModelConfigResponse:
        """What load generators read before they start."""
        return oip_proto_catalog.encode_config(self._service.model_config(request.name, request.version))

    async def model_statistics(
        self, request: pb.ModelStatisticsRequest, _call: Call
    ) -> pb.ModelStatisticsResponse:
        """What one version has done, or all of them."""
        usages = self._service.model_statistics(request.name, request.version)
        return oip_proto_catalog.encode_statistics(usages)

    async def repository_index(
        self, request: pb.RepositoryIndexRequest, _call: Call
    ) -> pb.RepositoryIndexResponse:
        """Every version that the server knows."""
        return oip_proto_catalog.encode_index(self._service.repository_index(ready_only=request.ready))

    async def load(
        self, request: pb.RepositoryModelLoadRequest, call: Call
    ) -> pb.RepositoryModelLoadResponse:
        """Bring a model in."""
        parameters = self._parameters("load", request, call)
        await self._service.load_model(request.model_name, parameters, call)
        return pb.RepositoryModelLoadResponse()

    async def unload(
        self, request: pb.RepositoryModelUnloadRequest, call: Call
    ) -> pb.RepositoryModelUnloadResponse:
        """Let a model go."""
        parameters = self._parameters("unload", request, call)
        await self._service.unload_model(request.model_name, parameters, call)
        return pb.RepositoryModelUnloadResponse()

    def _parameters(
        self, name: str, request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest, call: Call
    ) -> dict[str, Parameter | bytes]:
        act = Act(name=name, target=request.model_name, protocol="grpc", principal=call.principal)
        with denials(self._service, act):
            return oip_proto_catalog.decode_repository_parameters(request.parameters)

    async def system_shared_memory(
        self, request: pb.SystemSharedMemoryStatusRequest, _call: Call
    ) -> pb.SystemSharedMemoryStatusResponse:
        """The regions of shared memory: none."""
        absent.check_region(request.name)
        return pb.SystemSharedMemoryStatusResponse()

    async def forget_system_shared_memory(
        self, _request: pb.SystemSharedMemoryUnregisterRequest, _call: Call
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Let go of regions that do not exist."""
        return pb.SystemSharedMemoryUnregisterResponse()

    async def cuda_shared_memory(
        self, request: pb.CudaSharedMemoryStatusRequest, _call: Call
    ) -> pb.CudaSharedMemoryStatusResponse:
        """The regions of a GPU's shared memory: none."""
        absent.check_region(request.name)
        return pb.CudaSharedMemoryStatusResponse()

    async def forget_cuda_shared_memory(
        self, _request: pb.CudaSharedMemoryUnregisterRequest, _call: Call
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """Let go of regions that do not exist."""
        return pb.CudaSharedMemoryUnregisterResponse()


def _absent(extension: str) -> Callable[[Any, Call], Awaitable[Message]]:
    async def refuse(_request: Message, _call: Call) -> Message:
        raise absent.refusal(extension)

    return refuse
