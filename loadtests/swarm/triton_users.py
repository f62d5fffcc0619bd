"""Users who call through NVIDIA's tritonclient as it is sold: its gRPC client, and its HTTP client on gevent.

Only its public methods are used. It brings stubs of its own, of the same names as ours; a process can hold
one of the two, so nothing that is imported here may import `serve.pb`.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from loadtests.bearer import bearer
from loadtests.exchange import TRITON_GRPC, TRITON_HTTP
from loadtests.swarm.asker import TIMEOUT_S, Asker, Reply, Truth, WrongAnswerError, told
from loadtests.tally import grpc_outcome, http_outcome
from loadtests.traffic.questions import Answer, Question
from loadtests.traffic.wire import OUTPUTS, tensor_of, text_of

OK: Final = "ok"
# A connection of its own: clients in one process would share one otherwise. The lengths are the server's to
# limit.
CHANNEL: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)
# What the library lets through of a reply that is not what the protocol says.
MALFORMED: Final = (
    *(AttributeError, IndexError, KeyError, TypeError, ValueError),
    *(struct.error, InferenceServerException),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Arguments of either client's `infer`."""

    model: str
    inputs: list[Any]
    more: Mapping[str, Any]


class TritonUser(Asker):
    """What both clients have in common."""

    abstract = True
    library: Any  # one of tritonclient's two modules, which name everything alike

    def connect(self) -> None:
        """See `Asker`."""
        self._headers = bearer(self.stage.options.token)
        self._rest = httpx.Client(
            base_url=str(self.host), headers=self._headers, timeout=TIMEOUT_S, trust_env=False
        )
        self._client = self.open()

    def disconnect(self) -> None:
        """See `Asker`."""
        self._client.close()
        self._rest.close()

    def open(self) -> Any:  # noqa: ANN401  the library has no types
        """A client with a connection of its own."""
        raise NotImplementedError

    def encode(self, question: Question) -> Call:
        """See `Asker`."""
        tensor = tensor_of(question)
        image = self.library.InferInput(tensor.name, list(tensor.shape), tensor.datatype)
        image.set_data_from_numpy(_array(question))
        more: dict[str, Any] = {
            "request_id": question.request_id,
            "outputs": [self.library.InferRequestedOutput(name) for name in OUTPUTS],
        }
        parameters = question.parameters
        if timeout_us := parameters.pop("timeout", None):  # it has an argument of its own
            more["timeout"] = timeout_us
        return Call(model=question.model, inputs=[image], more=more | {"parameters": parameters})

    def tell(self, experiment: str, truths: Sequence[Truth]) -> Mapping[str, int]:
        """See `Asker`; over REST, since the library knows nothing of experiments."""
        path, document = told(experiment, truths)
        try:
            response = self._rest.post(path, json=document)
            return Counter(str(one["status"]) for one in response.json()["outcomes"])
        except httpx.HTTPError as error:
            raise WrongAnswerError(f"no receipts came: {str(error) or type(error).__name__}") from None
        except (KeyError, TypeError, ValueError):
            raise WrongAnswerError(f"{response.status_code}: {response.text}") from None


class TritonGrpcUser(TritonUser):
    """The library's gRPC client; one channel for its whole life."""

    way = TRITON_GRPC
    library = tritonclient.grpc

    def open(self) -> Any:  # noqa: ANN401  as in `TritonUser`
        """See `TritonUser`."""
        return tritonclient.grpc.InferenceServerClient(self.stage.options.grpc, channel_args=list(CHANNEL))

    def send(self, message: Call, question: Question) -> Reply:  # noqa: ARG002  as in `Asker`
        """See `Asker`."""
        try:
            result = self._client.infer(
                message.model,
                message.inputs,
                headers=self._headers,
                client_timeout=self.stage.timeout_s,
                **message.more,
            )
        except InferenceServerException as error:
            code, text = _grpc_code(error.status()), str(error.message())
            return Reply(outcome=grpc_outcome(code, text), message=f"{code.name}: {text}")
        response = result.get_response()
        return _read(lambda: _grpc_answer(result, response), response.ByteSize())


class TritonHttpUser(TritonUser):
    """The library's HTTP client, which is made for gevent; one kept-alive connection."""

    way = TRITON_HTTP
    library = tritonclient.http

    def open(self) -> Any:  # noqa: ANN401  as in `TritonUser`
        """See `TritonUser`."""
        limits = dict.fromkeys(("connection_timeout", "network_timeout"), self.stage.timeout_s)
        return tritonclient.http.InferenceServerClient(urlsplit(str(self.host)).netloc, **limits)

    def send(self, message: Call, question: Question) -> Reply:  # noqa: ARG002  as in `Asker`
        """See `Asker`. The library does not tell how many bytes came."""
        try:
            # A copy: it adds the length of its own header to them.
            result = self._client.infer(
                message.model, message.inputs, headers=dict(self._headers), **message.more
            )
        except InferenceServerException as error:
            text = str(error.message())
            return Reply(outcome=http_outcome(int(error.status() or 0)), message=text)
        except (OSError, HTTPException) as error:  # those of the library below it
            return Reply(message=repr(error))
        except MALFORMED as error:
            return _malformed(error)
        return _read(lambda: _http_answer(result), 0)


def _array(question: Question) -> NDArray[Any]:
    if question.array is not None:
        return question.array
    return np.array([sample.encoded for sample in question.samples], np.object_)


def _grpc_code(status: str | None) -> grpc.StatusCode:
    """From how the library says it: "StatusCode.NOT_FOUND"."""
    return grpc.StatusCode[(status or "StatusCode.UNKNOWN").removeprefix("StatusCode.")]


def _read(answer: Callable[[], Answer], size: int) -> Reply:
    try:
        return Reply(outcome=OK, answer=answer(), size=size)
    except MALFORMED as error:
        return _malformed(error, size)


def _malformed(error: Exception, size: int = 0) -> Reply:
    return Reply(outcome=OK, message=f"the reply is malformed: {error!r}", size=size)


def _grpc_answer(result: Any, response: Any) -> Answer:  # noqa: ANN401  the library has no types
    parameters = {name: text_of(_value(value)) for name, value in response.parameters.items()}
    return _answer(result, response.id, response.model_name, parameters)


def _http_answer(result: Any) -> Answer:  # noqa: ANN401  as above
    response = result.get_response()
    parameters = {name: text_of(value) for name, value in response.get("parameters", {}).items()}
    return _answer(result, response.get("id", ""), response.get("model_name", ""), parameters)


def _value(parameter: Any) -> object:  # noqa: ANN401  as above
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else ""


def _answer(result: Any, request_id: str, model: str, parameters: Mapping[str, str]) -> Answer:  # noqa: ANN401  as above
    probabilities, labels = (result.as_numpy(name) for name in OUTPUTS)
    if probabilities is None:  # of an output that is not there
        raise KeyError(OUTPUTS[0])
    return Answer(
        request_id=request_id,
        model=model,
        probabilities=probabilities,
        labels=tuple(label.decode() for label in labels),
        parameters=parameters,
    )
