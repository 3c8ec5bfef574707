"""Serves on WSGI: Flask, Django's WSGI handler, or any other callable.

WSGI has no event loop, so an invocation runs on the process's background loop while its worker thread waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

from rotor.sdk.loop_thread import shared_loop_thread
from rotor.sdk.serve.app import Request, ServedApp, same_path

__all__ = ["WsgiApp", "headers_of", "wsgi_app"]

WsgiApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def wsgi_app(app: WsgiApp, served: ServedApp, path: str) -> WsgiApp:
    """`app` with the serve path in front of it."""

    def with_rotor(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not same_path(environ.get("PATH_INFO", ""), path):
            return app(environ, start_response)
        answer = shared_loop_thread().run(served.answer(_request(environ, served.body_bytes_max)))
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, [*answer.headers.items(), ("content-length", str(len(answer.body)))])
        return [answer.body]

    return with_rotor


def headers_of(environ: dict[str, Any]) -> dict[str, str]:
    """The request's headers by their lower-case names."""
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    return {**headers, "content-type": environ.get("CONTENT_TYPE", "")}


def _request(environ: dict[str, Any], bytes_max: int) -> Request:
    headers = headers_of(environ)
    host = headers.get("host") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    url = f"{environ['wsgi.url_scheme']}://{host}{environ.get('SCRIPT_NAME', '')}{environ['PATH_INFO']}"
    return Request(environ["REQUEST_METHOD"], url, headers, _body(environ, bytes_max))


def _body(environ: dict[str, Any], bytes_max: int) -> bytes:
    """The request's body, or as much of it as shows that it is over the limit."""
    length: str = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        wanted = min(int(length), bytes_max + 1)
    elif environ.get("wsgi.input_terminated"):
        wanted = bytes_max + 1
    else:
        return b""
    body: bytes = environ["wsgi.input"].read(wanted)
    return body
