"""Questions and answers over gRPC, with this project's own stubs; REST's are in `loadtests.traffic.wire`."""

from __future__ import annotations

import struct

import numpy as np

from loadtests.traffic.questions import Answer, Question
from loadtests.traffic.wire import OUTPUTS, AnswerError, tensor_of, text_of, texts
from serve.pb import open_inference_pb2 as pb


def grpc_request(question: Question) -> pb.ModelInferRequest:
    """The question for ModelInfer."""
    tensor = tensor_of(question)
    request = pb.ModelInferRequest(
        model_name=question.model,
        id=question.request_id,
        parameters={name: _parameter(value) for name, value in question.parameters.items()},
        raw_input_contents=[tensor.raw],
    )
    request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    for name in OUTPUTS:
        request.outputs.add(name=name)
    return request


def grpc_answer(response: pb.ModelInferResponse) -> Answer:
    """Read ModelInfer's reply.

    Raises:
        AnswerError: It is not what the protocol says.
    """
    raw = {
        tensor.name: blob
        for tensor, blob in zip(response.outputs, response.raw_output_contents, strict=False)
    }
    shapes = {tensor.name: tuple(tensor.shape) for tensor in response.outputs}
    try:
        return Answer(
            request_id=response.id,
            model=response.model_name,
            probabilities=np.frombuffer(raw["probabilities"], "<f4").reshape(shapes["probabilities"]),
            labels=texts(raw["label"]),
            parameters={name: text_of(_value(value)) for name, value in response.parameters.items()},
        )
    except (KeyError, ValueError, struct.error) as error:
        raise AnswerError(f"the reply is malformed: {error!r}") from error


def _parameter(value: str | int) -> pb.InferParameter:
    if isinstance(value, str):
        return pb.InferParameter(string_param=value)
    return pb.InferParameter(int64_param=value)


def _value(parameter: pb.InferParameter) -> object:
    field = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, field) if field else ""
