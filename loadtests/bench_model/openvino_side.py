"""The side of OpenVINO, in an environment of its own: converts a net, and runs it when it is told to.

`python openvino_side.py NET.pt THREADS SITE_PACKAGES` loads torch, for the conversion, from the site packages
of the benchmark. It answers every line of JSON on its input with one on its output; the first, unasked, has
the relative error of every form. Nothing of the project is imported.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, TextIO

CALIBRATION: Final = 8  # images; accuracy is not asked for here, and speed does not depend on it
# Name -> whether it is quantised, and the precision of all that is not.
FORMS: Final = {"fp32": (False, "f32"), "bf16": (False, "bf16"), "int8": (True, "bf16")}


class Side:
    """The net in all forms; a batch size is compiled when it is first asked for."""

    def __init__(self, path: str, threads: int) -> None:
        import nncf  # noqa: PLC0415  as below
        import openvino  # noqa: PLC0415  behind the change of sys.path
        import torch  # noqa: PLC0415  as above

        torch.set_num_threads(threads)
        traced = torch.jit.load(path)  # type: ignore[no-untyped-call] # torch's lack
        images = torch.randn(CALIBRATION, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        plain = openvino.convert_model(traced, example_input=images[:2])
        data = nncf.Dataset([image[None].numpy() for image in images])
        self._nets = {False: plain, True: nncf.quantize(plain, data, subset_size=CALIBRATION)}
        self._core = openvino.Core()
        self._threads = threads
        self._compiled: dict[tuple[str, int], Any] = {}
        with torch.inference_mode():
            expected = traced(images[:2]).numpy()
        self.errors = {
            form: float(abs(self.infer(form, images[:2].numpy()) - expected).max() / abs(expected).max())
            for form in FORMS
        }
        self._images = images

    def infer(self, form: str, images: Any) -> Any:  # noqa: ANN401  arrays of a library imported late
        """Logits float32 [N,K] of images float32 [N,3,H,W]."""
        return self._request(form, len(images)).infer({0: images})[0]

    def seconds(self, form: str, batch: int, batches: int) -> float:
        """As `timer` in loadtests.bench_model.rounds: of several batches the first does not count."""
        images = self._images.repeat(-(-batch // CALIBRATION), 1, 1, 1)[:batch].numpy()
        request = self._request(form, batch)
        times = []
        for _ in range(batches if batches == 1 else batches + 1):
            begun = time.perf_counter()
            request.infer({0: images})
            times.append(time.perf_counter() - begun)
        return statistics.median(times[1:] or times)

    def _request(self, form: str, batch: int) -> Any:  # noqa: ANN401  as above
        if (form, batch) not in self._compiled:
            quantised, precision = FORMS[form]
            net = self._nets[quantised].clone()
            net.reshape([batch, 3, 224, 224])
            settings = {
                "INFERENCE_NUM_THREADS": self._threads,
                "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "LATENCY",
            }
            self._compiled[form, batch] = self._core.compile_model(
                net, "CPU", settings
            ).create_infer_request()
        return self._compiled[form, batch]


def main() -> None:
    """Answer until the input ends."""
    path, threads, packages = sys.argv[1:]
    sys.path.append(packages)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the libraries print their progress
    side = Side(path, int(threads))
    _say(replies, side.errors)
    for line in sys.stdin:
        _say(replies, {"seconds": side.seconds(**json.loads(line))})


def _say(replies: TextIO, reply: Mapping[str, float]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
