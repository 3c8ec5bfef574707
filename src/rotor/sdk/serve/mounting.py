"""`serve_workflow`: puts the serve path into a web app of any framework.

Each framework is recognised by what its app is made of, so that none needs to be installed. The serve path stands in
front of the app's own routes and middleware: a login or a CSRF check must not stand between the server and its runs,
which prove themselves by their signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rotor import limits
from rotor.errors import ConfigError
from rotor.sdk.functions import Function
from rotor.sdk.serve.app import ServedApp
from rotor.sdk.serve.asgi import asgi_app
from rotor.sdk.serve.wsgi import wsgi_app

__all__ = ["serve_workflow"]

A = TypeVar("A")


def serve_workflow(
    app: A,
    *,
    functions: Sequence[Function[Any, Any]],
    signing_key: str | Sequence[str] | None = None,
    path: str = "/api/rotor",
    serve_url: str | None = None,
    dev: bool | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
    body_bytes_max: int = limits.FRAME_BYTES,
    threads: int = 32,
    version: str | None = None,
) -> A:
    """Serve `functions` at `path` of a web app, and return the app.

    `app` is a FastAPI, Starlette, Litestar, Quart, Flask or aiohttp app, which gains the path; the list `urlpatterns`
    of a Django project, likewise; or any other ASGI or WSGI callable, for which the returned callable is the app to
    run.

        app = FastAPI()
        serve_workflow(app, functions=[welcome])            # ROTOR_SIGNING_KEY is in the environment

        urlpatterns = [path("admin/", admin.site.urls)]     # Django
        serve_workflow(urlpatterns, functions=[welcome])

        application = serve_workflow(application, functions=[welcome])   # any ASGI or WSGI callable

    `signing_key` is the workspace's, or several while keys rotate (environment: `ROTOR_SIGNING_KEY`, separated by
    commas). `serve_url` is the address at which the server reaches the path, where it is not the one that a PUT names
    or comes to. `dev` admits requests without a signature where there is no key (environment: `ROTOR_DEV=1`): for your
    own machine only. `api_key` and `base_url` are the client's (`Rotor`), used to register. `threads` bounds the sync
    step bodies that run at once, `body_bytes_max` the size of an invocation. `version` names the code, which each step
    of a run shows, once the app is registered: `ROTOR_VERSION` unless given, or else a hash of the files in which the
    functions stand.

    Raises `ConfigError` without a signing key, and for an app that it cannot recognise.
    """
    if not path.startswith("/"):
        raise ConfigError(f"path of serve_workflow is {path!r}; start it with a slash")
    served = ServedApp(
        functions,
        signing_key=signing_key,
        serve_url=serve_url,
        dev=dev,
        api_key=api_key,
        base_url=base_url,
        body_bytes_max=body_bytes_max,
        threads=threads,
        version=version,
    )
    mounted: A = _mount(app, served, path)
    return mounted


def _mount(app: Any, served: ServedApp, path: str) -> Any:
    if isinstance(app, list):
        from rotor.sdk.serve.django import url_pattern  # noqa: PLC0415  (Django is installed where a list comes)

        app.insert(0, url_pattern(served, path))
    elif hasattr(app, "wsgi_app"):  # Flask and its kin
        app.wsgi_app = wsgi_app(app.wsgi_app, served, path)
    elif hasattr(app, "asgi_app"):  # Quart
        app.asgi_app = asgi_app(app.asgi_app, served, path)
    elif hasattr(app, "asgi_handler"):  # Litestar
        app.asgi_handler = asgi_app(app.asgi_handler, served, path)
    elif hasattr(app, "build_middleware_stack"):  # Starlette and FastAPI
        _mount_starlette(app, served, path)
    elif hasattr(app, "router") and hasattr(app, "on_response_prepare"):
        from rotor.sdk.serve.aiohttp import handler  # noqa: PLC0415  (aiohttp takes a while to import)

        for one in {path, f"{path.rstrip('/')}/"}:
            app.router.add_route("*", one, handler(served))
    elif not callable(app):
        raise ConfigError(
            f"serve_workflow knows no app like {type(app).__name__}; give a web app or Django's urlpatterns"
        )
    else:
        return asgi_app(app, served, path) if _is_asgi(app) else wsgi_app(app, served, path)
    return app


def _mount_starlette(app: Any, served: ServedApp, path: str) -> None:
    """Stand outside the middleware stack, which is built at the first request, or was built already."""
    build: Callable[[], Any] = app.build_middleware_stack
    app.build_middleware_stack = lambda: asgi_app(build(), served, path)
    if app.middleware_stack is not None:
        app.middleware_stack = asgi_app(app.middleware_stack, served, path)


def _is_asgi(app: Callable[..., Any]) -> bool:
    """An ASGI application takes (scope, receive, send), a WSGI one (environ, start_response)."""
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004
        return True
    parameters = inspect.signature(app).parameters.values()
    required = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    if len(required) not in (2, 3):
        raise ConfigError(f"serve_workflow cannot tell whether {app!r} is an ASGI or a WSGI callable")
    return len(required) == 3
