"""Triton's extensions that this server does not have: what their calls are told, on either door. Pure.

A client that asks for one hears its name and which there are, rather than that a path or a method is unknown.
Shared memory is the exception: as no region can be registered, "none" is the truth about all of them, and
programs that tidy up before they begin are let through.
"""

from __future__ import annotations

from collections.abc import Mapping

from serve.core.describe import EXTENSIONS
from serve.core.errors import NotFoundError, UnsupportedError
from serve.edge.tensors import show

# The methods of each extension, and its paths.
RPCS: Mapping[str, str] = {
    "SystemSharedMemoryRegister": "system_shared_memory",
    "CudaSharedMemoryRegister": "cuda_shared_memory",
    "TraceSetting": "trace",
    "LogSettings": "logging",
}
PATHS: Mapping[str, str] = {
    "/v2/systemsharedmemory/region/{region}/register": "system_shared_memory",
    "/v2/cudasharedmemory/region/{region}/register": "cuda_shared_memory",
    "/v2/trace/setting": "trace",
    "/v2/models/{model}/trace/setting": "trace",
    "/v2/logging": "logging",
    "/v2/models/{model}/generate": "generate",
    "/v2/models/{model}/generate_stream": "generate",
    "/v2/models/{model}/versions/{version}/generate": "generate",
    "/v2/models/{model}/versions/{version}/generate_stream": "generate",
}
# Where the regions of either kind of shared memory are asked for.
REGIONS = ("/v2/systemsharedmemory", "/v2/cudasharedmemory")


def refusal(extension: str) -> UnsupportedError:
    """Say that an extension is not here, and which are."""
    return UnsupportedError(
        f"the extension {extension!r} is not offered by this server; offered are {', '.join(EXTENSIONS)}"
    )


def check_region(name: str) -> None:
    """Look for a region of shared memory; "" stands for all of them.

    Raises:
        NotFoundError: It was asked for by name.
    """
    if name:
        raise NotFoundError(f"shared memory region {show(name)} is not found, none can be registered here")
