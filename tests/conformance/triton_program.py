"""Does with one of Triton's own clients all that it offers and this server has; prints what it understood.

A program of its own: the client's generated `inference` messages cannot live in one process with ours.
`python triton_program.py grpc|grpc.aio|http|http.aio HTTP_ADDRESS GRPC_ADDRESS MODEL` prints a JSON object.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

IMAGES = np.array([b"png", b"\xff\xd8"], dtype=np.object_)
CODINGS = ("gzip", "deflate")


class Calls:
    """The calls, in one of the four ways."""

    def __init__(self, way: str, address: str, model: str) -> None:
        self.way = way
        self.over = way.partition(".")[0]
        self.api: Any = importlib.import_module(f"tritonclient.{way}")
        self.client: Any = self.api.InferenceServerClient(address)
        self.model = model

    async def call(self, name: str, *arguments: object, **more: object) -> Any:  # noqa: ANN401  no types
        """Call a method of the client, which is a coroutine in two of the ways."""
        found = getattr(self.client, name)(*arguments, **more)
        return await found if inspect.isawaitable(found) else found

    async def told(self, name: str, *arguments: object) -> Any:  # noqa: ANN401
        """Call a method that tells something as JSON."""
        return await self.call(name, *arguments, **({"as_json": True} if self.over == "grpc" else {}))

    def tensor(self, name: str, datatype: str, array: Any, **more: object) -> Any:  # noqa: ANN401
        """An input."""
        made = self.api.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array, **more)
        return made

    async def infer(self, *tensors: Any, **more: Any) -> Any:  # noqa: ANN401
        """Infer, with the images unless other tensors are given."""
        inputs = list(tensors) or [self.tensor("image", "BYTES", IMAGES)]
        return await self.call("infer", more.pop("model", self.model), inputs, **more)

    async def labels(self, *tensors: Any, **more: Any) -> list[str]:  # noqa: ANN401
        """What the images are named."""
        result = await self.infer(*tensors, **more)
        return [one if isinstance(one, str) else one.decode() for one in result.as_numpy("label")]

    async def health(self) -> list[bool]:
        """Live, ready, the model, a version of it, one that loads."""
        ask = self.call
        return [
            await ask("is_server_live"),
            await ask("is_server_ready"),
            await ask("is_model_ready", self.model),
            await ask("is_model_ready", self.model, "1"),
            await ask("is_model_ready", "digits_loading"),
        ]

    async def inputs(self) -> list[list[str]]:
        """Every kind of input."""
        features = self.tensor("input", "FP32", np.full((1, 3, 2, 2), 0.5, np.float32))
        pixels = self.tensor("pixels", "UINT8", np.full((2, 2, 2, 3), 7, np.uint8))
        column = self.tensor("image", "BYTES", IMAGES.reshape(2, 1))
        return [
            await self.labels(),
            await self.labels(column),
            await self.labels(pixels),
            await self.labels(features),
        ]

    async def outputs(self) -> list[object]:
        """Outputs by name, and what they hold."""
        wanted = [self.api.InferRequestedOutput(name) for name in ("status", "probabilities", "attention")]
        result = await self.infer(outputs=wanted)
        arrays = [result.as_numpy(output.name()) for output in wanted]
        return [[str(array.dtype), list(array.shape)] for array in arrays]

    async def classification(self) -> list[list[str]]:
        """The two best classes of each image."""
        wanted = [self.api.InferRequestedOutput("probabilities", class_count=2)]
        rows = (await self.infer(outputs=wanted)).as_numpy("probabilities")
        return [[cell.decode().partition(":")[0] for cell in row] for row in rows]

    async def circumstances(self) -> list[str]:
        """Id, version, priority, timeouts, headers, parameters: all at once."""
        more = {"client_timeout": 20.0} if self.over == "grpc" else {"query_params": {"mine": "x"}}
        result = await self.infer(
            request_id="7",
            model_version="1",
            priority=1,
            timeout=20_000_000,
            headers={"x-unit-id": "u"},
            parameters={"mine": "x", "much": 2, "true": True},
            **more,
        )
        response = result.get_response()
        keys = ("model_name", "model_version", "id")
        return [response[key] if isinstance(response, dict) else getattr(response, key) for key in keys]

    async def compression(self) -> list[list[str]]:
        """A long answer as the client likes it by itself, then request and answer compressed, each way."""
        many = self.tensor("image", "BYTES", np.repeat(IMAGES, 50))
        found = [sorted(set(await self.labels(many)))]
        for coding in CODINGS:
            asked: dict[str, str] = {"compression_algorithm": coding}
            if self.over == "http":
                asked = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
            found.append(sorted(set(await self.labels(many, **asked))))
        return found

    async def metadata(self) -> list[object]:
        """Of the server, the model, its configuration, and whether they fit together."""
        server = await self.told("get_server_metadata")
        model = await self.told("get_model_metadata", self.model)
        config = await self.told("get_model_config", self.model)
        config = config.get("config", config)
        same = [t["name"] for t in config["input"]] == [t["name"] for t in model["inputs"]]
        return [server["name"], model["versions"], config["max_batch_size"], same]

    async def statistics(self) -> list[int]:
        """By how much a request of two images counts: requests and images."""
        before = await self._counts()
        await self.infer()
        after = await self._counts()
        return [now - then for now, then in zip(after, before, strict=True)]

    async def _counts(self) -> list[int]:
        everything = await self.told("get_inference_statistics")
        (row,) = (await self.told("get_inference_statistics", self.model, "2"))["model_stats"]
        assert row["name"] in {one["name"] for one in everything["model_stats"]}
        return [int(row["inference_stats"]["success"].get("count", 0)), int(row.get("inference_count", 0))]

    async def repository(self) -> list[str]:
        """The index; load and unload without complaint."""
        index = await self.told("get_model_repository_index")
        await self.call("load_model", self.model)
        await self.call("unload_model", self.model, unload_dependents=True)
        entries = index["models"] if isinstance(index, dict) else index
        return sorted({f"{entry['name']} {entry['state']}" for entry in entries})

    async def tidying(self) -> int:
        """What Triton's examples with shared memory do before they begin: no region is told of."""
        for kind in ("system", "cuda"):
            await self.call(f"unregister_{kind}_shared_memory")
            await self.call(f"unregister_{kind}_shared_memory", "mine")
        regions = await self.told("get_system_shared_memory_status")
        return len(regions)

    async def errors(self) -> list[str]:
        """What the client makes of refusals."""
        pixels = self.tensor("pixels", "UINT8", np.zeros((1, 2, 2, 4), np.uint8))
        return [
            await self._error(self.infer(model="nobody")),
            await self._error(self.infer(pixels)),
            await self._error(self.infer(model_version="v10")),
            await self._error(self.call("register_system_shared_memory", "r", "/r", 8)),
            await self._error(self.call("get_trace_settings")),
            await self._error(self.call("get_log_settings")),
        ]

    async def _error(self, asked: Awaitable[object]) -> str:
        try:
            await asked
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}"
        return "none"

    async def stream(self) -> list[str]:
        """Over gRPC: a label or an error for each message, in order."""
        models = (self.model, "nobody", self.model)
        if self.way == "grpc":
            return await asyncio.to_thread(self._stream, models)
        if self.way == "grpc.aio":
            return await self._aio_stream(models)
        return []

    def _stream(self, models: tuple[str, ...]) -> list[str]:
        heard: list[str] = []

        def note(result: Any, error: Any) -> None:  # noqa: ANN401
            heard.append(str(error) if error else result.as_numpy("label")[0].decode())

        self.client.start_stream(note, compression_algorithm="gzip")
        for number, model in enumerate(models):
            image = self.tensor("image", "BYTES", IMAGES)
            self.client.async_stream_infer(
                model, [image], request_id=str(number), enable_empty_final_response=True
            )
        self.client.stop_stream()
        return heard

    async def _aio_stream(self, models: tuple[str, ...]) -> list[str]:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            for model in models:
                yield {"model_name": model, "inputs": [self.tensor("image", "BYTES", IMAGES)]}

        answers = self.client.stream_infer(requests())
        return [
            str(error) if error else result.as_numpy("label")[0].decode() async for result, error in answers
        ]


async def main() -> None:
    """Make every call and print what came back."""
    way, http, grpc, model = sys.argv[1:]
    calls = Calls(way, grpc if way.startswith("grpc") else http, model)
    steps: tuple[Callable[[], Awaitable[object]], ...] = (
        calls.health,
        calls.inputs,
        calls.outputs,
        calls.classification,
        calls.circumstances,
        calls.compression,
        calls.metadata,
        calls.statistics,
        calls.repository,
        calls.tidying,
        calls.errors,
        calls.stream,
    )
    sys.stdout.write(json.dumps({step.__name__: await step() for step in steps}))
    await calls.call("close")


if __name__ == "__main__":
    asyncio.run(main())
