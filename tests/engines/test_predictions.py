"""The message to TorchServe that is put together by hand; protobuf's own parser is the reference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.messages import ModelRef
from serve.engines.predictions import predictions_request
from serve.pb.torchserve_inference_pb2 import PredictionsRequest


@given(
    st.text(max_size=200),
    st.text(max_size=9),
    st.dictionaries(st.text(max_size=200), st.binary(max_size=300)),
)
def test_protobuf_reads_what_was_meant(name: str, version: str, packed: dict[str, bytes]) -> None:
    """Name, version and every blob, whatever is in them; and not a byte more than protobuf would write."""
    data = predictions_request(ModelRef(name=name, version=version), packed)
    expected = PredictionsRequest(model_name=name, model_version=version, input=packed)
    assert PredictionsRequest.FromString(data) == expected


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_of_each_number_of_bytes(size: int) -> None:
    """A length has seven bits a byte."""
    data = predictions_request(ModelRef(name="m", version="1"), {"0": bytes(size)})
    assert dict(PredictionsRequest.FromString(data).input) == {"0": bytes(size)}
