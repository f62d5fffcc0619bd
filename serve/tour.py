"""What `make serve` shows: real images through every model, over gRPC and REST, and commands to paste."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from serve.app import Gateway
from serve.classify import print_table, ready_models
from serve.client import Client, ClientError, Reply, TlsFiles, connected
from serve.doors import Addresses
from serve.terminal.example import EXAMPLE

# What the commands for a first experiment are about.
_FIRST = yaml.safe_load(EXAMPLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One model over one protocol.

    Attributes:
        right: How many of the images it named rightly.
        milliseconds: Median time of a call that carries one image.
        errors: Of the images that it could not answer.
    """

    model: str
    protocol: str
    right: int
    images: int
    milliseconds: float
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a tour leads.

    Attributes:
        images: Files called LABEL-ANYTHING, at least one.
        run_dir: Where the gateway writes what it found out at run time.
        program: How the reader calls this command line.
        token: Bearer token; "" where the gateway asks for none.
        ca: Whom to trust where the gateway has a certificate: that itself.
    """

    images: tuple[Path, ...]
    run_dir: Path
    program: str = "attnserve"
    token: str = ""
    ca: Path | None = None


def show_tour(console: Console, route: Route) -> Callable[[Gateway], Awaitable[None]]:
    """What to run once a gateway is ready: send every image through every ready model over both protocols.

    The gateway stays up whatever comes of it, so that a failure is only printed.
    """

    async def tour(gateway: Gateway) -> None:
        try:
            legs = await _legs(gateway.addresses, route)
        except ClientError as error:
            console.print(f"the tour failed: {error}", markup=False, soft_wrap=True)
            return
        _show(console, legs)
        for line in _commands(gateway.addresses, route, [leg.model for leg in legs]):
            console.print(line, markup=False, soft_wrap=True)

    return tour


async def _legs(addresses: Addresses, route: Route) -> list[Leg]:
    tls = TlsFiles(ca=route.ca)
    samples = [(path.name.partition("-")[0], path.read_bytes()) for path in route.images]
    async with (
        connected(addresses.grpc_url, route.token, tls) as grpc,
        connected(addresses.http, route.token, tls) as rest,
    ):
        return [
            await _leg(model, protocol, client, samples)
            for model in ready_models(await grpc.index())
            for protocol, client in (("gRPC", grpc), ("REST", rest))
        ]


async def _leg(model: str, protocol: str, client: Client, samples: Sequence[tuple[str, bytes]]) -> Leg:
    """One image a call and one call after another, so that the time is that of a lone caller."""
    replies: list[Reply] = [await client.classify(model, [image]) for _, image in samples]
    verdicts = [reply.verdicts[0] for reply in replies]
    return Leg(
        model=model,
        protocol=protocol,
        right=sum(verdict.label == label for verdict, (label, _) in zip(verdicts, samples, strict=True)),
        images=len(samples),
        milliseconds=1e3 * statistics.median(reply.seconds for reply in replies),
        errors=tuple(verdict.error for verdict in verdicts if verdict.error),
    )


def _show(console: Console, legs: Sequence[Leg]) -> None:
    console.print("Real images through every model, one a call:")
    rows = [
        (leg.model, leg.protocol, f"{leg.right} of {leg.images}", f"{leg.milliseconds:.1f} ms")
        for leg in legs
    ]
    print_table(console, ("model", "over", "right", "median call"), rows)
    for error in dict.fromkeys(error for leg in legs for error in leg.errors):
        console.print(f"failed: {error}", markup=False, soft_wrap=True)


def _commands(addresses: Addresses, route: Route, models: Sequence[str]) -> list[str]:
    image, run_dir, model = route.images[0], route.run_dir, models[-1]
    bearer = '-H "Authorization: Bearer $ATTNSERVE_TOKEN" ' if route.token else ""
    curl = f"curl -s {bearer}" + (f"--cacert {route.ca} " if route.ca else "")
    trust = f" --ca {route.ca}" if route.ca else ""
    bare = "-H 'Inference-Header-Content-Length: 0' -H 'Accept: application/json'"
    lines = [
        "",
        f"page     {addresses.http}     (try the models, compare them, watch them, in a browser)",
        f"REST     {addresses.http}     docs: {addresses.http}/docs",
        f"gRPC     {addresses.grpc}     (Open Inference Protocol v2: tritonclient works unchanged)",
        f"metrics  {addresses.metrics}",
        "",
        "Try:",
        f"  {curl}--data-binary @{image} {bare} {addresses.http}/v2/models/{model}/infer",
        f"  {route.program} classify {image.parent} --url {addresses.grpc_url}{trust}",
        f"  {curl}{addresses.http}/v2/models/{model}",
        f"  curl -s {addresses.metrics} | grep attnserve_requests_total",
    ]
    if {arm["model"] for arm in _FIRST["arms"]} <= set(models):
        own, called = f"{route.program} experiment", _FIRST["name"]
        there = f"--url {addresses.http}{trust}"
        lines += [
            f"  {own} create --example | {own} create - --reason 'a first look' --yes --start --wait {there}",
            f"  {route.program} classify {image.parent} --model {called} --url {addresses.grpc_url}{trust}",
            f"  {own} report {called} {there}",
        ]
    if (run_dir / "inference.url").exists():
        own_token = f'-H "Authorization: Bearer $(cat {run_dir}/inference.token)"'
        lines += [
            f"  curl -s -T {image} {own_token} $(cat {run_dir}/inference.url)/predictions/{model}",
            "",
            f"TorchServe, which the last command calls, logs to {run_dir}/torchserve.log.",
        ]
    return [*lines, "Ctrl-C ends everything."]
