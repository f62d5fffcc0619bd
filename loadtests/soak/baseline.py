"""What there is to ask of the demo's nets, with the answers that they gave while nothing was broken."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image

from loadtests.soak.clients import Asker
from loadtests.soak.questions import Expected, Item, Model, Question, Shelf, Stock, Way
from loadtests.soak.replies import Answer
from loadtests.stack import StackError, Target
from loadtests.traffic.corpus import Corpus, read_corpus
from serve.core.messages import Kind

PATIENCE_S: Final = 30.0
TOLERANCE: Final = 1e-3  # float32 in batches of other sizes differs by far less


async def demo_stock(target: Target, models: Sequence[str], samples: Path) -> Stock:
    """Read the samples, and ask every model once about each in every form.

    Raises:
        StackError: A question was not answered.
        CorpusError: There are no samples.
    """
    corpus = read_corpus(samples)
    async with httpx.AsyncClient(base_url=target.http, trust_env=False) as client:
        metadata = {name: (await client.get(f"/v2/models/{name}")).json() for name in models}
    shapes = {name: _columns(document["outputs"]) for name, document in metadata.items()}
    height, width = _columns(metadata[models[0]]["inputs"])["input"][-2:]
    known = tuple(
        Model(name=name, version=document["versions"][-1], gates=shapes[name].get("attention", (0, 0))[-1])
        for name, document in metadata.items()
    )
    shelves = tuple(_shelves(corpus, (height, width)))
    return Stock(
        models=known,
        shelves=shelves,
        bad=tuple(
            Item(name=sample.name, kind=Kind.IMAGE, payload=sample.encoded, good=False)
            for sample in corpus.corrupt
        ),
        expected=await _baseline(target, known, shelves),
        classes=shapes[models[0]]["probabilities"][-1],
        tolerance=TOLERANCE,
    )


def _columns(tensors: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    return {tensor["name"]: tuple(tensor["shape"]) for tensor in tensors}


def _shelves(corpus: Corpus, size: tuple[int, int]) -> Iterator[Shelf]:
    files = [Item(name=one.name, kind=Kind.IMAGE, payload=one.encoded) for one in corpus.labelled]
    yield Shelf(items=tuple(files), share=6)
    pictures: defaultdict[tuple[int, ...], list[Item]] = defaultdict(list)
    inputs = []
    for one in files:
        with Image.open(io.BytesIO(one.payload)) as image:
            picture = image.convert("RGB")
        pixels = np.asarray(picture)
        item = Item(
            name=f"{one.name} as pixels", kind=Kind.PIXELS, payload=pixels.tobytes(), shape=pixels.shape
        )
        pictures[pixels.shape].append(item)
        # Any normalisation will do: right is what the net said before.
        row = (np.asarray(picture.resize(size[::-1])) / 255 - 0.5).transpose(2, 0, 1).astype("<f4")
        inputs.append(
            Item(name=f"{one.name} as input", kind=Kind.INPUT, payload=row.tobytes(), shape=row.shape)
        )
    for items in pictures.values():
        yield Shelf(items=tuple(items), share=2 / len(pictures))
    yield Shelf(items=tuple(inputs), share=2)


async def _baseline(
    target: Target, models: Sequence[Model], shelves: Sequence[Shelf]
) -> dict[tuple[str, str], Expected]:
    asker = Asker(target)
    try:
        return {
            (model.name, item.name): await _ask(asker, model, item)
            for model in models
            for shelf in shelves
            for item in shelf.items
        }
    finally:
        await asker.close()


async def _ask(asker: Asker, model: Model, item: Item) -> Expected:
    question = Question(
        number=0,
        way=Way.GRPC,
        model=model,
        version=model.version,
        items=(item,),
        outputs=(),
        partial=False,
        priority=0,
        deadline_s=PATIENCE_S,
        by_parameter=False,
        typed=False,
        cancel_after_s=None,
        flaw=None,
    )
    reply = await asker.ask(question)
    if not isinstance(reply, Answer):
        raise StackError(f"{model.name} did not answer for {item.name} with nothing broken: {reply}")
    row = np.asarray(reply.outputs["probabilities"])[0]
    index = int(row.argmax())
    return Expected(str(reply.outputs["label"][0]), index, float(row[index]))
