"""Server and worker on one event loop: `python -m benchmarks.one_process PORT` says `ready`, and ends by SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from benchmarks.workflows import functions
from rotor.sdk.loop import run_loop
from rotor.sdk.worker import connect
from rotor.server.server import Server, ServerConfig


async def serve(port: int) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    config = ServerConfig(
        database_url=os.environ["DATABASE_URL"], schema=os.environ["ROTOR_SCHEMA"], port=port, dev=True
    )
    server = Server(config)
    await server.start()
    worker = connect(functions, url=config.url, slots=1_000)
    worker.on_connected = lambda: print("ready", flush=True)
    working = asyncio.create_task(worker.run())
    await stopping.wait()
    worker.stop()
    await working
    await server.stop()


if __name__ == "__main__":
    run_loop(serve(int(sys.argv[1])))
