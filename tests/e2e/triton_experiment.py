"""What a user of tritonclient does with a name, whatever is behind it; a program, as triton_calls.py is.

`python triton_experiment.py grpc|http ADDRESS NAME UNIT IMAGE` prints a JSON object with what came back.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np


def main() -> None:
    """Ask for all that is told of the name, and infer without a unit and with one."""
    protocol, address, name, unit, image = sys.argv[1:]
    module = importlib.import_module(f"tritonclient.{protocol}")
    client = module.InferenceServerClient(address)
    as_json = {"as_json": True} if protocol == "grpc" else {}
    tensor = module.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([image.encode()], dtype=np.object_))

    def infer(**more: object) -> dict[str, Any]:
        result = client.infer(name, [tensor], **more)
        response = result.get_response(**as_json)
        label = result.as_numpy("label")[0]
        parameters: dict[str, Any] = {
            key: next(iter(value.values())) if isinstance(value, dict) else value
            for key, value in response["parameters"].items()
        }
        return {"label": label.decode(), "model": response["model_name"], "parameters": parameters}

    config = client.get_model_config(name, **as_json)
    found = {
        "ready": client.is_model_ready(name),
        "metadata": client.get_model_metadata(name, **as_json),
        "config": config.get("config", config),
        "plain": infer(),
        "with a unit": [infer(headers={"x-unit-id": unit}) for _ in range(2)],
    }
    print(json.dumps(found))  # noqa: T201  this is the program's output
    client.close()


if __name__ == "__main__":
    main()
