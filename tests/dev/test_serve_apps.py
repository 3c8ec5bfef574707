"""Apps that serve themselves: `rotor dev -u` keeps them registered, `rotor sync` registers them once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rotor.dev.serve_apps import read_manifest
from rotor.errors import ConfigError
from tests.dev.processes import RotorDev, eventually, free_port

APP = """
from starlette.applications import Starlette
from rotor import Context, create_function, serve_workflow

@create_function(id="GREET", trigger={"event": "greeting.asked"})
async def greet(ctx: Context) -> str:
    return await ctx.step.run("say", lambda: "served by GREET")

app = Starlette()
serve_workflow(app, functions=[greet])
"""


class ServeApp:
    """An app under a web server of its own, with a function whose id can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/rotor"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, function_id: str) -> None:
        (self.folder / "served.py").write_text(APP.replace("GREET", function_id))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "served:app", "--port", str(self.port), "--log-level", "warning"],
            cwd=self.folder,
            env={**os.environ, "ROTOR_DEV": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def serve_app(tmp_path: Path) -> Iterator[ServeApp]:
    app = ServeApp(tmp_path)
    yield app
    app.stop()


@pytest.fixture
def dev(serve_app: ServeApp, tmp_path: Path) -> Iterator[RotorDev]:
    """`rotor dev` that serves nothing itself."""
    server = RotorDev(None, tmp_path / "data", "-u", serve_app.url)
    server.wait_for("Ready on")
    yield server
    server.stop()


def outputs(dev: RotorDev) -> list[str]:
    dev.rotor("send", "greeting.asked", "null")
    return [run["output"] for run in dev.rotor("runs", "list", "--status", "completed")["items"]]


def test_an_app_is_registered_as_what_it_serves_now(dev: RotorDev, serve_app: ServeApp) -> None:
    told = dev.wait_for(f"App at {serve_app.url}: the app at {serve_app.url} does not answer")
    serve_app.start("greet")
    told = dev.wait_for("greet  event greeting.asked", after=told)
    assert eventually(lambda: "served by greet" in outputs(dev))
    serve_app.stop()
    serve_app.start("welcome")
    dev.wait_for("welcome  event greeting.asked", after=told)
    assert eventually(lambda: "served by welcome" in outputs(dev))
    assert dev.rotor("sync", serve_app.url) == {"serve_url": serve_app.url, "functions": ["welcome"]}


async def test_an_address_that_is_no_serve_app_is_told(serve_app: ServeApp) -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        await read_manifest("app.py")


async def test_a_redirect_of_an_app_is_told_and_not_followed() -> None:
    app = web.Application()
    asked: list[str] = []

    async def redirect(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    app.router.add_get("/{path:.*}", redirect)
    async with TestServer(app) as served:
        with pytest.raises(ConfigError, match="give the address at which the app itself answers"):
            await read_manifest(str(served.make_url("/api/rotor")))
    assert asked == ["/api/rotor"]
