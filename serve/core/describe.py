"""What a model's card says in the protocol's words: metadata and configuration."""

from __future__ import annotations

import json
from dataclasses import asdict

from serve.core.card import ModelCard
from serve.core.catalog import ModelConfig, ModelMetadata, TensorSpec

PLATFORM = "pytorch_torchscript"
# Only what works: load generators call what is listed.
EXTENSIONS = (
    "classification",
    "model_repository",
    "model_configuration",
    "statistics",
    "binary_tensor_data",
    "parameters",
    "schedule_policy",
)


def model_metadata(card: ModelCard, versions: tuple[str, ...]) -> ModelMetadata:
    """Inputs, outputs and properties; `versions` are the ones that can be asked for."""
    return ModelMetadata(
        name=card.ref.name,
        versions=versions,
        platform=PLATFORM,
        inputs=_inputs(card),
        outputs=_outputs(card),
        properties=_properties(card),
    )


def model_config(card: ModelCard, *, max_queue_delay_s: float) -> ModelConfig:
    """The configuration that load generators read before they start."""
    return ModelConfig(
        name=card.ref.name,
        version=card.ref.version,
        platform=PLATFORM,
        backend="pytorch",
        max_batch_size=card.max_batch,
        inputs=_inputs(card),
        outputs=_outputs(card),
        preferred_batch_sizes=(card.max_batch,),
        max_queue_delay_us=round(max_queue_delay_s * 1e6),
        parameters=_recipe(card),
    )


def _inputs(card: ModelCard) -> tuple[TensorSpec, ...]:
    # Exactly one of the three is given; `image` is the one that tools should fill in.
    height, width = card.input_size
    return (
        TensorSpec(name="image", datatype="BYTES", shape=(-1, 1)),
        TensorSpec(name="pixels", datatype="UINT8", shape=(-1, -1, -1, 3), optional=True),
        TensorSpec(name="input", datatype="FP32", shape=(-1, 3, height, width), optional=True),
    )


def _outputs(card: ModelCard) -> tuple[TensorSpec, ...]:
    specs = [
        TensorSpec(name="probabilities", datatype="FP32", shape=(-1, card.classes)),
        TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="logits", datatype="FP32", shape=(-1, card.classes)),
        TensorSpec(name="status", datatype="INT32", shape=(-1,)),
    ]
    if card.attention_layout:
        specs.append(TensorSpec(name="attention", datatype="FP32", shape=(-1, card.attention_columns)))
    return tuple(specs)


def _recipe(card: ModelCard) -> dict[str, str]:
    if not card.recipe:
        return {}
    reasons = json.dumps(card.recipe_reasons, ensure_ascii=False)
    decoder = {"decoder": card.decoder} if card.decoder else {}
    return {"recipe": card.recipe, "recipe_reasons": reasons, **decoder}


def _properties(card: ModelCard) -> dict[str, str]:
    properties = {
        "attention": card.attention,
        "trained": str(card.trained).lower(),
        "labels": json.dumps(card.labels, ensure_ascii=False),
        "contents_sha256": card.contents_sha256,
        **_recipe(card),
    }
    if card.attention_layout:
        properties["attention_layout"] = json.dumps([asdict(block) for block in card.attention_layout])
    return properties
