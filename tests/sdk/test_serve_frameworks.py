"""`serve_workflow` serves from every kind of web app, over real HTTP, and leaves the app's own routes alone."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import aiohttp
import django  # type: ignore[import-untyped]
import fastapi
import flask
import pytest
import starlette.applications
import starlette.requests
import starlette.responses
import starlette.routing
import uvicorn
from aiohttp import web
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]
from django.test import override_settings  # type: ignore[import-untyped]
from django.urls import path as django_path  # type: ignore[import-untyped]

from rotor import Context, create_function, serve_workflow
from rotor.errors import ConfigError
from rotor.protocol.messages import RunCompleted
from tests.sdk.servers import serving
from tests.sdk.serving import FUNCTIONS, KEY, CheckpointServer, invocation, result, signed

APPS: list[Any] = []
"""Apps live as long as their process, and so do their connections."""


@asynccontextmanager
async def on_uvicorn(app: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="auto")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  (uvicorn tells it no other way)
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@asynccontextmanager
async def on_wsgiref(app: Any) -> AsyncIterator[str]:
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@asynccontextmanager
async def on_aiohttp(app: Any) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def starlette_app() -> Any:
    async def hello(request: starlette.requests.Request) -> starlette.responses.Response:
        return starlette.responses.PlainTextResponse("hello")

    app = starlette.applications.Starlette(routes=[starlette.routing.Route("/{rest:path}", hello)])
    assert serve_workflow(app, functions=FUNCTIONS, signing_key=KEY) is app
    return app


def fastapi_app() -> Any:
    app = fastapi.FastAPI()

    @app.get("/hello", response_class=fastapi.responses.PlainTextResponse)
    def hello() -> str:
        return "hello"

    serve_workflow(app, functions=FUNCTIONS, signing_key=KEY)
    return app


def plain_asgi() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

    return serve_workflow(app, functions=FUNCTIONS, signing_key=KEY)


def flask_app() -> Any:
    app = flask.Flask("shop")

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    assert serve_workflow(app, functions=FUNCTIONS, signing_key=KEY) is app
    return app


def plain_wsgi() -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"hello"]

    return serve_workflow(app, functions=FUNCTIONS, signing_key=KEY)


def aiohttp_app() -> Any:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application(client_max_size=10)
    app.router.add_get("/hello", hello)
    serve_workflow(app, functions=FUNCTIONS, signing_key=KEY)
    return app


@contextmanager
def django_project() -> Iterator[None]:
    if not settings.configured:
        settings.configure(
            SECRET_KEY="of a test",
            ALLOWED_HOSTS=["127.0.0.1"],
            MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
            DATA_UPLOAD_MAX_MEMORY_SIZE=10,
        )
        django.setup()
    urls = types.ModuleType("rotor_test_urls")
    urls.urlpatterns = [django_path("hello", lambda _: HttpResponse("hello"))]  # type: ignore[attr-defined]
    serve_workflow(urls.urlpatterns, functions=FUNCTIONS, signing_key=KEY)
    sys.modules[urls.__name__] = urls
    APPS.append(urls)
    with override_settings(ROOT_URLCONF=urls.__name__):
        yield


Opened = Callable[[], Any]
SERVERS: dict[str, tuple[Opened, Callable[[Any], Any]]] = {
    "starlette": (starlette_app, on_uvicorn),
    "fastapi": (fastapi_app, on_uvicorn),
    "asgi": (plain_asgi, on_uvicorn),
    "flask": (flask_app, on_wsgiref),
    "wsgi": (plain_wsgi, on_wsgiref),
    "aiohttp": (aiohttp_app, on_aiohttp),
    "django-wsgi": (get_wsgi_application, on_wsgiref),
    "django-asgi": (get_asgi_application, on_uvicorn),
}


@pytest.fixture(params=SERVERS)
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    make, serve = SERVERS[request.param]
    with django_project():
        APPS.append(make())
        async with serve(APPS[-1]) as base:
            yield base


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_an_app_of_any_framework_runs_invocations(url: str, client: aiohttp.ClientSession) -> None:
    checkpoints = CheckpointServer()
    async with serving(checkpoints) as checkpoints.url:
        for function_id in ("doubler", "blocking"):
            body = invocation(function_id, {"number": 3}, checkpoints.url)
            async with client.post(f"{url}/api/rotor", data=body, headers=signed(body)) as response:
                assert response.status == 200
                assert response.content_type == "application/json"
                assert isinstance(result(await response.read())[-1], RunCompleted)
    assert len(checkpoints.frames) == 3


async def test_an_app_of_any_framework_tells_what_it_serves_and_keeps_its_routes(
    url: str, client: aiohttp.ClientSession
) -> None:
    for path in ("/api/rotor", "/api/rotor/"):
        async with client.get(url + path) as response:
            assert len((await response.json())["functions"]) == 3
    async with client.get(f"{url}/hello") as response:
        assert await response.text() == "hello"


async def test_an_app_of_any_framework_refuses_what_is_not_signed(url: str, client: aiohttp.ClientSession) -> None:
    for method in ("POST", "PUT"):
        async with client.request(method, f"{url}/api/rotor", data=b"x" * 100) as response:
            assert response.status == 401
            assert response.content_type == "application/problem+json"
    async with client.delete(f"{url}/api/rotor") as response:
        assert response.status == 405


class Hesitant(CheckpointServer):
    """It answers once it is let to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.set()
        await self.may_answer.wait()
        answer = await super().__call__(request)
        if isinstance(self.frames[-1][-1], RunCompleted):
            self.ended.set()
        return answer


@pytest.mark.parametrize(("framework", "running"), [(plain_asgi, on_uvicorn), (aiohttp_app, on_aiohttp)])
async def test_a_caller_that_hangs_up_is_told_the_end_by_call_back(
    framework: Any, running: Any, client: aiohttp.ClientSession
) -> None:
    server = Hesitant()
    async with serving(server) as server.url, running(framework()) as app:
        body = invocation("doubler", {"number": 4}, server.url)
        posting = asyncio.create_task(client.post(f"{app}/api/rotor", data=body, headers=signed(body)))
        await server.asked.wait()
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        server.may_answer.set()
        await asyncio.wait_for(server.ended.wait(), 60)


def test_flasks_own_test_client_sees_the_serve_path() -> None:
    answer = flask_app().test_client().get("/api/rotor")
    assert len(json.loads(answer.data)["functions"]) == 3


def test_an_app_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no app like int"):
        serve_workflow(3, functions=FUNCTIONS, signing_key=KEY)
    with pytest.raises(ConfigError, match="ASGI or a WSGI"):
        serve_workflow(lambda one: one, functions=FUNCTIONS, signing_key=KEY)
    with pytest.raises(ConfigError, match="slash"):
        serve_workflow([], functions=FUNCTIONS, signing_key=KEY, path="api/rotor")


def test_two_functions_with_one_id_are_refused() -> None:
    @create_function(id="doubler", trigger={"event": "other"})
    async def other(ctx: Context[Any]) -> None: ...

    with pytest.raises(ConfigError, match="two functions have the id 'doubler'"):
        serve_workflow([], functions=[*FUNCTIONS, other], signing_key=KEY)
