"""FastAPI and uvicorn, as most first services look: no batching."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI, Request, UploadFile
from peer_net import PeerNet
from peer_options import LOOPBACK, options

found = options()
net = PeerNet(found.net, tuned=found.tuned)
app = FastAPI()
# One forward pass at a time has all the cores; several at once would fight for them.
passes = ThreadPoolExecutor(1)


@app.post("/form")
def form(file: UploadFile) -> dict[str, float]:
    """As documented: a form's file, in FastAPI's thread pool."""
    return net.classify([file.file.read()])[0]


@app.post("/raw")
async def raw(request: Request) -> dict[str, float]:
    """Tuned: the bare body, and a thread for the net."""
    body = await request.body()
    loop = asyncio.get_running_loop()
    batch = await loop.run_in_executor(None, net.decode, [body])
    return (await loop.run_in_executor(passes, net.infer, batch))[0]


if __name__ == "__main__":
    uvicorn.run(app, host=LOOPBACK, port=found.ports[0], log_level="warning", access_log=False)
