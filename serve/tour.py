"""What `make serve` shows: real images through every model, over gRPC and REST, and commands to paste."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from serve.app import Addresses
from serve.classify import find_images
from serve.client import Client, ClientError, Crowd, GrpcClient, Pace, Reply, RestClient, ready_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One model over one protocol.

    Attributes:
        right: How many of the labelled images it named rightly.
        milliseconds: Median time of a call that carries one image.
    """

    model: str
    protocol: str
    right: int
    images: int
    milliseconds: float
    errors: tuple[str, ...] = ()


async def take_tour(addresses: Addresses, images: Sequence[Path], token: str = "") -> list[Leg]:
    """Send every image through every ready model over both protocols, one image a call."""
    samples = [(path.name.partition("-")[0], path.read_bytes()) for path in images]
    clients: list[tuple[str, Client]] = [
        ("gRPC", GrpcClient(addresses.grpc, token)),
        ("REST", RestClient(addresses.http, token)),
    ]
    models = await ready_models(clients[0][1])
    legs = [await _leg(model, protocol, client, samples) for model in models for protocol, client in clients]
    for _, client in clients:
        await client.close()
    return legs


async def _leg(model: str, protocol: str, client: Client, samples: Sequence[tuple[str, bytes]]) -> Leg:
    crowd = Crowd(client, Pace(images_per_call=1, calls=1))
    replies: list[Reply] = [reply async for reply in crowd.classify(model, [image for _, image in samples])]
    verdicts = [reply.verdicts[0] for reply in replies]
    return Leg(
        model=model,
        protocol=protocol,
        right=sum(verdict.label == label for verdict, (label, _) in zip(verdicts, samples, strict=True)),
        images=len(samples),
        milliseconds=1e3 * statistics.median(reply.seconds for reply in replies) if replies else 0.0,
        errors=tuple(verdict.error for verdict in verdicts if verdict.error),
    )


def show_tour(console: Console, legs: Sequence[Leg]) -> None:
    """Print what came back."""
    table = Table("model", "over", "right", "median call", title="Real images through every model")
    for leg in legs:
        table.add_row(leg.model, leg.protocol, f"{leg.right} of {leg.images}", f"{leg.milliseconds:.1f} ms")
    console.print(table)
    for error in dict.fromkeys(error for leg in legs for error in leg.errors):
        console.print(f"failed: {error}", markup=False)


def show_commands(console: Console, addresses: Addresses, model: str, image: Path, run_dir: Path) -> None:
    """Print the addresses, and commands that can be pasted as they are."""
    curl = (
        f"curl -s --data-binary @{image} -H 'Inference-Header-Content-Length: 0' "
        f"-H 'Accept: application/json' {addresses.http}/v2/models/{model}/infer"
    )
    lines = [
        "",
        f"REST     {addresses.http}     docs: {addresses.http}/docs",
        f"gRPC     {addresses.grpc}     (Open Inference Protocol v2: tritonclient and KServe's client work)",
        f"metrics  {addresses.metrics}",
        f"log      {run_dir}/torchserve.log",
        "",
        "Try:",
        f"  {curl}",
        f"  attnserve classify {image.parent} --url grpc://{addresses.grpc}",
        f"  curl -s {addresses.http}/v2/models/{model}",
        f"  curl -s {addresses.metrics} | grep attnserve_requests_total",
        "",
        "Ctrl-C ends it.",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


async def tour(console: Console, addresses: Addresses, folder: Path, run_dir: Path, token: str = "") -> bool:
    """Take the tour and print it; whether every image was answered."""
    images = find_images([folder])
    try:
        legs = await take_tour(addresses, images, token)
    except ClientError as error:
        console.print(f"the tour failed: {error}", markup=False)
        return False
    show_tour(console, legs)
    if legs and images:
        show_commands(console, addresses, legs[-1].model, images[0], run_dir)
    return bool(legs) and not any(leg.errors for leg in legs)
