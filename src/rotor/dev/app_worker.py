"""The app's worker under `rotor dev`: one process at a time, replaced at each save, started again after a crash."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from rotor.dev import watching
from rotor.dev.process import KeptProcess
from rotor.dev.reports import Connected, Failed, Found, decode_report, describe
from rotor.errors import ConfigError

__all__ = ["AppWorker"]

AGAIN_SECONDS = 1.0
GRACE_SECONDS = 5
"""Longer than the worker's own grace time, after which it gives its runs back."""


class AppWorker:
    """Keeps one worker process for `app` connected to the server at `url`.

    `settled` is set once the app serves its functions, or has turned out not to load.
    """

    def __init__(self, app: str, url: str, say: Callable[[str], None], *, slots: int, reload: bool) -> None:
        self._app = app
        self._url = url
        self._say = say
        self._slots = slots
        self._reload = reload
        self._changed = asyncio.Event()
        self._names: set[str] = set()
        self._broken = ""
        self.settled = asyncio.Event()

    async def run(self) -> None:
        """Serve the app until cancelled. Without reload, an app that does not load raises `ConfigError`."""
        watcher = asyncio.create_task(self._watch(), name="rotor-dev-watch") if self._reload else None
        try:
            while True:
                self._changed.clear()
                await self._run_process()
                if self._broken and not self._reload:
                    raise ConfigError(self._broken)
                await self._pause()
        finally:
            if watcher is not None:
                watcher.cancel()
                with suppress(asyncio.CancelledError):
                    await watcher

    async def _run_process(self) -> None:
        """One worker process, until it ends or a file changes."""
        self._broken = ""
        readable, writable = os.pipe()
        try:
            process = KeptProcess(
                [sys.executable, "-m", "rotor.dev.worker", self._app, self._url, str(self._slots), str(writable)],
                grace_seconds=GRACE_SECONDS,
                pass_fds=[writable],
                # What the app's own clients speak to: this server, whatever the shell has set.
                env={**os.environ, "ROTOR_URL": self._url},
            )
        finally:
            os.close(writable)
        listening = asyncio.create_task(self._listen(readable), name="rotor-dev-listen")
        changed = asyncio.create_task(self._changed.wait(), name="rotor-dev-changed")
        try:
            await asyncio.wait({listening, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            process.request_stop()
            code = await asyncio.shield(asyncio.to_thread(process.wait))
            await listening
        if not self._changed.is_set() and not self._broken:
            self._say(f"The worker ended with exit code {code}; it is started again.")

    async def _listen(self, readable: int) -> None:
        """Tell what the worker reports, until its end of the pipe closes."""
        reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
        pipe = os.fdopen(readable, "rb")
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                match decode_report(line):
                    case Found(functions):
                        self._say(describe(f"App {self._app}", functions))
                    case Connected():
                        self.settled.set()
                    case Failed(message):
                        self._broken = f"app {self._app} cannot be served: {message}"
                        if self._reload:
                            self._say(f"Error: {self._broken}\nIt is tried again at the next save.")
                            self.settled.set()
        finally:
            transport.close()

    async def _pause(self) -> None:
        """Before the next process: none after a save; until one after an app that does not load; else a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if self._broken else AGAIN_SECONDS):
                await self._changed.wait()
        if self._changed.is_set():
            self._say(f"Changed: {', '.join(sorted(self._names))}; reloading.")
            self._names.clear()

    async def _watch(self) -> None:
        async for names in watching.changes(watching.app_folder(self._app)):
            self._names |= names
            self._changed.set()
