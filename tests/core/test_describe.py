"""A model's card in the protocol's words."""

from __future__ import annotations

from dataclasses import replace

from serve.core.card import AttentionBlock, ModelCard
from serve.core.catalog import ModelConfig, ModelMetadata, TensorSpec
from serve.core.describe import model_config, model_metadata
from serve.core.messages import ModelRef

INPUTS = (
    TensorSpec(name="image", datatype="BYTES", shape=(-1, 1)),
    TensorSpec(name="pixels", datatype="UINT8", shape=(-1, -1, -1, 3), optional=True),
    TensorSpec(name="input", datatype="FP32", shape=(-1, 3, 8, 16), optional=True),
)
OUTPUTS = (
    TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),
    TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
    TensorSpec(name="logits", datatype="FP32", shape=(-1, 2)),
    TensorSpec(name="status", datatype="INT32", shape=(-1,)),
)


def card(attention: str, *blocks: AttentionBlock) -> ModelCard:
    """A card of two classes and 8 x 16 pixels."""
    return ModelCard(
        ref=ModelRef(name="digits", version="2"),
        labels=("null", "zw\u00f6lf"),
        input_size=(8, 16),
        attention=attention,
        attention_layout=blocks,
        trained=False,
        max_batch=8,
        contents_sha256="ab",
        signature={},
    )


def test_a_plain_net_is_described_without_gates() -> None:
    """Inputs with the batch dimension, outputs, and what people ask about, as text."""
    assert model_metadata(card("none"), ("1", "2")) == ModelMetadata(
        name="digits",
        versions=("1", "2"),
        platform="pytorch_torchscript",
        inputs=INPUTS,
        outputs=OUTPUTS,
        properties={
            "attention": "none",
            "trained": "false",
            "labels": '["null", "zw\u00f6lf"]',
            "contents_sha256": "ab",
        },
    )


def test_a_net_with_gates_tells_their_layout() -> None:
    """One output more, with a column for each channel of each branch, and how the columns are laid out."""
    blocks = (
        AttentionBlock(block="a", channels=4, branches=2),
        AttentionBlock(block="b", channels=3, branches=1),
    )
    metadata = model_metadata(card("sk", *blocks), ("2",))
    assert metadata.outputs == (*OUTPUTS, TensorSpec(name="attention", datatype="FP32", shape=(-1, 11)))
    assert metadata.properties["attention_layout"] == (
        '[{"block": "a", "channels": 4, "branches": 2}, {"block": "b", "channels": 3, "branches": 1}]'
    )


def test_the_served_recipe_is_told_where_it_is_known() -> None:
    """In the metadata and in the configuration, with why no other is served."""
    told = replace(card("none"), recipe="cpu-bf16", recipe_reasons=("cpu-fused: no",))
    expected = {"recipe": "cpu-bf16", "recipe_reasons": '["cpu-fused: no"]'}
    assert model_metadata(told, ("2",)).properties.items() >= expected.items()
    assert model_config(told, max_queue_delay_s=0.0).parameters == expected
    assert not model_config(card("none"), max_queue_delay_s=0.0).parameters


def test_the_configuration_is_what_load_generators_read() -> None:
    """The largest warmed-up batch and the window in microseconds."""
    assert model_config(card("none"), max_queue_delay_s=0.0005) == ModelConfig(
        name="digits",
        version="2",
        platform="pytorch_torchscript",
        backend="pytorch",
        max_batch_size=8,
        inputs=INPUTS,
        outputs=OUTPUTS,
        preferred_batch_sizes=(8,),
        max_queue_delay_us=500,
    )


def test_the_decoder_of_the_worker_is_told() -> None:
    """Beside the recipe, where the worker names it; an older one does not."""
    told = replace(card("none"), recipe="portable", decoder="simplejpeg")
    assert model_config(told, max_queue_delay_s=0).parameters["decoder"] == "simplejpeg"
    assert "decoder" not in model_config(replace(told, decoder=""), max_queue_delay_s=0).parameters
