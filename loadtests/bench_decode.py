"""`python -m loadtests.bench_decode`: what it costs to make a net's pixels of a file, and what it changes.

The reference is plain Pillow: the whole file decoded, resized without short cuts, then cropped. Each other
way is compared with it: CPU time, levels, and the classes that nets give. Weights trained on photographs do
not come with the project: the trained nets are the demo's, on held-out digits, and se_resnet50 has random
weights. So the table also says how far logits move, as a share of how far those of two images lie apart.
"""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

from handlers.attn_archive import read_signature
from handlers.attn_decode import Decoder, ImageLimits
from handlers.attn_decoders import choose_decoder
from handlers.attn_device import Placement
from handlers.attn_net import Net, NetInput
from handlers.attn_preprocess import INTERPOLATIONS, Recipe, fit, fit_into
from loadtests.bench.archives import REAL, prepare, unpack
from loadtests.bench.photos import photos
from loadtests.console import wide
from model_store.demo import DEMO, build_demo
from model_store.digits import load_split

Pixels: TypeAlias = NDArray[np.uint8]
Way: TypeAlias = Callable[[bytes, Recipe], Pixels]

SIZES: Final = ((500, 375), (1280, 960))
ROUNDS: Final = 11
FILES: Final = 8  # of each size, in each round
ENLARGED: Final = 280  # pixels, to which digits of 32 are brought: the short cuts then have something to do
BATCH: Final = 20
REFERENCE: Final = "reference"
IMAGENET: Final = Recipe(
    size=(224, 224),
    method="shorter_side",
    resize=(256, 256),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)

console = wide()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one way at one size.

    Attributes:
        way: Its name.
        size: Width and height of the JPEG files.
        cpu_ms: CPU time for one image, one thread: the median over rounds.
        largest: Largest difference to the reference, in levels of 256.
        mean: Mean difference.
    """

    way: str
    size: tuple[int, int]
    cpu_ms: float
    largest: int
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of one way, through one net.

    Attributes:
        way: Its name.
        net: The net's name.
        what: What the files are.
        images: How many.
        same: Of these, how many get the class that they get by the reference.
        moved: How far the logits move, over how far those of two images lie apart: medians.
    """

    way: str
    net: str
    what: str
    images: int
    same: int
    moved: float


def reference(blob: bytes, recipe: Recipe) -> Pixels:
    """Plain Pillow, written out: decode all, resize all, then crop, as torchvision does."""
    image = Image.open(io.BytesIO(blob)).convert("RGB")
    height, width = recipe.size
    resized = recipe.size
    if recipe.method == "shorter_side":
        shorter = min(image.size)
        resized = (
            int(recipe.resize[0] * image.height / shorter),
            int(recipe.resize[0] * image.width / shorter),
        )
    top, left = round((resized[0] - height) / 2), round((resized[1] - width) / 2)
    whole = image.resize(resized[::-1], INTERPOLATIONS[recipe.interpolation])
    return np.asarray(whole.crop((left, top, left + width, top + height)))


def pillow_alone(blob: bytes, recipe: Recipe) -> Pixels:
    """The short cuts of libjpeg and Pillow, and Pillow's resize: what is left where torch's is not used."""
    image = Decoder(ImageLimits()).decode(blob, least_side=recipe.least_side)
    return np.asarray(fit(image, recipe))


def served(decoder: str) -> Way:
    """What the handler does with a decoder."""
    choice = choose_decoder(decoder, torch.device("cpu"))
    if choice.name != decoder:
        raise typer.BadParameter(f"{decoder} cannot be used here: {'; '.join(choice.reasons)}")
    reader = Decoder(ImageLimits(), choice.jpeg)

    def way(blob: bytes, recipe: Recipe) -> Pixels:
        slot: Pixels = np.empty((*recipe.size, 3), np.uint8)
        fit_into(slot, reader.read(blob, least_side=recipe.least_side), recipe)
        return slot

    return way


def measure(ways: Mapping[str, Way], size: tuple[int, int], rounds: int) -> list[Cost]:
    """Cost of each way, in turns."""
    files = jpegs(FILES, size)
    made = {name: np.stack([way(file, IMAGENET) for file in files]) for name, way in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.thread_time()
            for file in files:
                way(file, IMAGENET)
            taken[name].append((time.thread_time() - started) / len(files) * 1000)
    levels = {name: np.abs(pixels.astype(int) - made[REFERENCE]) for name, pixels in made.items()}
    return [
        Cost(
            way=name,
            size=size,
            cpu_ms=statistics.median(taken[name]),
            largest=int(levels[name].max()),
            mean=float(levels[name].mean()),
        )
        for name in ways
    ]


def jpegs(count: int, size: tuple[int, int]) -> list[bytes]:
    """Real photographs as JPEG; sizes beyond those of the sources are enlarged from half."""
    if size[0] <= max(SIZES[0]):
        return list(photos(count, size))
    halves = photos(count, (size[0] // 2, min(size[1] // 2, 427)))
    return [_jpeg(Image.open(io.BytesIO(half)).resize(size, Image.Resampling.LANCZOS)) for half in halves]


def digits() -> dict[str, list[bytes]]:
    """The 540 held-out digits, as they are and enlarged."""
    pictures = [Image.fromarray(pixels) for pixels in load_split().held_out.pixels]
    return {
        "held-out digits, PNG of 32 x 32": [_encoded(picture, "PNG") for picture in pictures],
        f"held-out digits, JPEG of {ENLARGED} x {ENLARGED}": [
            _jpeg(picture.resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC)) for picture in pictures
        ],
    }


def compare(
    ways: Mapping[str, Way], store: Path, name: str, files: Mapping[str, Sequence[bytes]]
) -> list[Agreement]:
    """Classes and logits of one archive's net by each way, against those by the reference."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpack(store, Path(temporary), name)
        signature = read_signature(folder)
        net = Net(folder, signature, Placement(device=torch.device("cpu"), dtype=torch.float32))
        found = []
        for what, blobs in files.items():
            logits = {
                way: _logits(net, [turn(blob, signature.recipe) for blob in blobs])
                for way, turn in ways.items()
            }
            found += [_agreement(way, name, what, given, logits[REFERENCE]) for way, given in logits.items()]
        return found


def _logits(net: Net, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    height, width, _ = pictures[0].shape
    none = torch.zeros(0, 3, height, width)
    parts = [
        net(NetInput(pixels=torch.from_numpy(np.stack(pictures[first : first + BATCH])), tensors=none)).logits
        for first in range(0, len(pictures), BATCH)
    ]
    return np.concatenate(parts)


def _agreement(
    way: str, net: str, what: str, given: NDArray[np.float32], expected: NDArray[np.float32]
) -> Agreement:
    apart = np.linalg.norm(expected - np.roll(expected, 1, axis=0), axis=1)
    moved = np.linalg.norm(given - expected, axis=1)
    return Agreement(
        way=way,
        net=net,
        what=what,
        images=len(expected),
        same=int((given.argmax(axis=1) == expected.argmax(axis=1)).sum()),
        moved=float(np.median(moved) / np.median(apart)),
    )


def _jpeg(picture: Image.Image) -> bytes:
    return _encoded(picture, "JPEG", quality=90)


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _show(costs: Sequence[Cost], agreements: Sequence[Agreement]) -> None:
    table = Table("way", "JPEG", "CPU ms an image", "largest difference", "mean", title="Into 224 x 224")
    for cost in costs:
        table.add_row(
            cost.way,
            "{} x {}".format(*cost.size),
            f"{cost.cpu_ms:.2f}",
            str(cost.largest),
            f"{cost.mean:.3f}",
        )
    console.print(table)
    table = Table("way", "net", "images", "same class", "logits moved", title="Against the reference")
    for row in agreements:
        table.add_row(
            row.way, row.net, f"{row.images} {row.what}", f"{row.same / row.images:.2%}", f"{row.moved:.4f}"
        )
    console.print(table)


def main(
    *,
    crops: Annotated[int, typer.Option(help="Photographs for se_resnet50; 0: leave it out.", min=0)] = 200,
    store: Annotated[
        Path | None, typer.Option(help="Folder with archives, so that none is trained and built.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of timing.", min=1)] = ROUNDS,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file too.", metavar="FILE")
    ] = None,
) -> None:
    """Compare ways to decode and resize. Takes some minutes; nothing else should run meanwhile."""
    ways: dict[str, Way] = {REFERENCE: reference, "Pillow alone": pillow_alone, "pillow": served("pillow")}
    if choose_decoder("auto", torch.device("cpu")).name == "simplejpeg":
        ways["simplejpeg"] = served("simplejpeg")
    costs = [cost for size in SIZES for cost in measure(ways, size, rounds)]
    with tempfile.TemporaryDirectory() as temporary:
        archives = store or Path(temporary)
        if store is None:
            build_demo(archives)
        agreements = [row for name in DEMO for row in compare(ways, archives, name, digits())]
        if crops:
            prepare(archives, (REAL,), ("--recipes", "portable"))
            shots = {f"photographs, JPEG of {w} x {h}": jpegs(crops // 2, (w, h)) for w, h in SIZES}
            agreements += compare(ways, archives, REAL, shots)
    _show(costs, agreements)
    if as_json is not None:
        both = {"costs": list(map(asdict, costs)), "agreements": list(map(asdict, agreements))}
        as_json.write_text(json.dumps(both, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
