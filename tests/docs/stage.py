"""The stage of one page: a workspace of its own, a worker for the functions that the page defines, and what its hidden
checks call to see the runs through.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import uvicorn

from rotor import Function, SyncRotor, Worker, connect
from rotor.dev.serve_apps import read_manifest
from rotor.protocol.durations import parse_duration
from rotor.sdk.resources import Run
from tests.docs.server import DocsServer

__all__ = ["Stage"]

PATIENCE_SECONDS = 60.0
ROUND_SECONDS = 0.02


class Stage:
    """`names` is the page's namespace, in which its functions are looked up."""

    def __init__(self, server: DocsServer, workspace: str, names: dict[str, Any]) -> None:
        self.server = server
        self.key = server.create_key(workspace)
        self.rotor = SyncRotor(self.key.key, server.url)
        self._names = names
        self._served = False
        self._worker: Worker | None = None
        self._serving: asyncio.Task[None] | None = None
        self._functions: dict[str, Function[Any, Any]] = {}
        self._closing: list[Callable[[], object]] = []
        helpers = (self.begin, self.finish, self.run, self.until, self.advance, self.fire, self.serve, self.work)
        names.update({helper.__name__: helper for helper in helpers}, server=server, __name__="app")

    @property
    def environment(self) -> dict[str, str]:
        """What the page's reader has in the environment."""
        return {
            "ROTOR_URL": self.server.url,
            "ROTOR_API_KEY": self.key.key,
            "ROTOR_SIGNING_KEY": self.key.signing_key,
            "DATABASE_URL": self.server.dsn,
            "ROTOR_SCHEMA": self.server.schema,
        }

    def close(self) -> None:
        self._stop_worker()
        for close in self._closing:
            close()
        self.rotor.close()

    # --- what hidden checks call

    def run(self, function: Function[Any, Any], data: Any = None) -> Run:
        """The run of `function` for an event with `data`, once it has ended; its sleeps are skipped."""
        return self.finish(self.begin(function, data))

    def begin(self, function: Function[Any, Any], data: Any = None) -> str:
        """The id of a run that an event with `data` starts."""
        self.work(function)
        name = next(trigger.event for trigger in function.spec.triggers if trigger.event)
        event = self.rotor.events.get(self.rotor.send(name, data))
        return next(run.id for run in event.runs if run.function_id == function.id)

    def finish(self, run_id: str) -> Run:
        """The run once it has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (run := self.rotor.runs.get(run_id)).ended:
            assert time.monotonic() < deadline, f"the run does not end: {run}"
            if not self._skip_sleep(run):
                time.sleep(ROUND_SECONDS)
        return run

    def until(self, run_id: str, step_id: str, status: str = "waiting") -> None:
        """Return when a step of the run has a status."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            run = self.rotor.runs.get(run_id)
            if any(step.id == step_id and step.status == status for step in run.steps):
                return
            assert time.monotonic() < deadline, f"step {step_id} does not come to {status}: {run}"
            assert not run.ended, f"the run has ended before step {step_id} came to {status}: {run}"
            if not self._skip_sleep(run):
                time.sleep(ROUND_SECONDS)

    def advance(self, duration: str | float | timedelta) -> None:
        """Move the server's clock forward."""
        self.server.advance(parse_duration(duration))

    def fire(self, function: Function[Any, Any]) -> Run:
        """The run that the next fire of a cron starts, once it has ended."""
        self.work(function)
        next_at = next(trigger.next_at for trigger in self.rotor.functions.get(function.id).triggers if trigger.next_at)
        self.server.advance(next_at - self.server.now() + timedelta(seconds=1))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (runs := self.rotor.runs.list(function_id=function.id).items):
            assert time.monotonic() < deadline, f"{function.id} has not fired"
            time.sleep(ROUND_SECONDS)
        return self.finish(runs[0].id)

    def work(self, *functions: Function[Any, Any]) -> None:
        """Have a worker for `functions` and every other that was seen so far, unless the page serves them."""
        found = {**self._functions, **{one.id: one for one in self._names.values() if isinstance(one, Function)}}
        found |= {function.id: function for function in functions}
        if self._served or (self._worker is not None and self._functions == found):
            return
        self._stop_worker()
        self._functions = found
        self.server.run(self._start_worker())

    def serve(self, app: Any, path: str = "/api/rotor", *, wsgi: bool = False) -> str:
        """Serve a web app on a free port, register its functions, and return its serve URL."""
        port = self._serve_wsgi(app) if wsgi else self._serve_asgi(app)
        url = f"http://127.0.0.1:{port}{path}"
        self.rotor.apps.register(asyncio.run(read_manifest(url)))
        self._served = True
        return url

    # --- within

    def _skip_sleep(self, run: Run) -> bool:
        """Move the clock to the end of the run's nearest sleep or backoff, where it is all that the run waits for."""
        if run.status != "waiting":
            return False
        waiting = [step for step in run.steps if step.status in ("waiting", "retrying")]
        for step in waiting:
            if step.child_run_id and self._skip_sleep(self.rotor.runs.get(step.child_run_id)):
                return True
        deadlines = [step.deadline for step in waiting if step.deadline and step.op in ("sleep", "run")]
        if not deadlines:
            return False
        self.server.advance(max(min(deadlines) - self.server.now(), timedelta()) + timedelta(milliseconds=10))
        time.sleep(ROUND_SECONDS)
        return True

    async def _start_worker(self) -> None:
        connected = asyncio.Event()
        self._worker = connect(
            list(self._functions.values()),
            url=self.server.url,
            api_key=self.key.key,
            name="docs",
            grace_seconds=2,
        )
        self._worker.on_connected = connected.set
        self._serving = asyncio.create_task(self._worker.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await connected.wait()

    def _stop_worker(self) -> None:
        async def stop(worker: Worker, serving: asyncio.Task[None]) -> None:
            worker.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await serving

        if self._worker is not None and self._serving is not None:
            self.server.run(stop(self._worker, self._serving))
            self._worker = self._serving = None

    def _serve_asgi(self, app: Any) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False))

        async def begin() -> asyncio.Task[None]:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
                await asyncio.sleep(0.005)
            return task

        async def end() -> None:
            server.should_exit = True
            await task

        task = self.server.run(begin())
        self._closing.append(lambda: self.server.run(end()))
        port: int = listener.getsockname()[1]
        return port

    def _serve_wsgi(self, app: Any) -> int:
        class Silent(WSGIRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                pass

        server = make_server("127.0.0.1", 0, app, handler_class=Silent)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self._closing += [server.shutdown, thread.join, server.server_close]
        return server.server_port
