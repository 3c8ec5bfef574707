"""Answers the three requests of the serve path, whatever web framework carries them.

GET tells what is served (the manifest, nothing secret). POST is a signed invocation of one run. PUT registers the app:
the app then sends its manifest, under its own API key, to its own `ROTOR_URL`. Whoever could send a PUT could point the
workspace's functions elsewhere, so it must be signed with the workspace's signing key, as POST is. Its body may name
the address (`{"serve_url": "https://..."}`): in the body, because a signature covers neither query nor Host header.

Without a signing key there is only development mode (`ROTOR_DEV=1`): requests then need no signature, but one with an
Origin header is refused, so that no web page that the developer visits can send them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar

import msgspec

from rotor import limits
from rotor.errors import ApiError, ConfigError, ConnectionLostError, PayloadError, SignatureError
from rotor.protocol import json, signing
from rotor.protocol.invocations import Invocation, InvocationResult
from rotor.protocol.messages import FunctionSpec, Manifest
from rotor.sdk.client import Rotor
from rotor.sdk.functions import Function
from rotor.sdk.loading import check_ids
from rotor.sdk.serve.replays import TOLERANCE_SECONDS, TakenIds
from rotor.sdk.versions import code_version

__all__ = ["Answer", "Request", "ServedApp", "same_path"]

T = TypeVar("T")

log = logging.getLogger("rotor.serve")

JSON: Final = {"content-type": "application/json", "cache-control": "no-store"}
PROBLEM: Final = {"content-type": "application/problem+json", "cache-control": "no-store"}


@dataclass(frozen=True)
class Request:
    """A request to the serve path; `headers` by their lower-case names, `body` at most one byte over the limit."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    is_gone: Callable[[], bool] = lambda: False
    """Whether whoever sent it has hung up, where that can be known."""


@dataclass(frozen=True)
class Answer:
    """The response to a request."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: JSON)


class Registration(msgspec.Struct):
    """The body of a PUT."""

    serve_url: str | None = None


class RefusedError(Exception):
    """A request that is answered with a problem."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.answer = Answer(status, json.encode({"status": status, "title": title, "detail": detail}), PROBLEM)


class Invocations(Protocol):
    """Runs invocations: `rotor.sdk.serve.invocation.Invoker`."""

    async def run(
        self, function: Function[Any, Any], invocation: Invocation, is_gone: Callable[[], bool]
    ) -> InvocationResult:
        """Run `function` as far as it goes without waiting."""


class ServedApp:
    """The functions of one app behind its serve path."""

    def __init__(
        self,
        functions: Sequence[Function[Any, Any]],
        *,
        signing_key: str | Sequence[str] | None = None,
        serve_url: str | None = None,
        dev: bool | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        body_bytes_max: int = limits.FRAME_BYTES,
        threads: int = 32,
        version: str | None = None,
    ) -> None:
        self.body_bytes_max = body_bytes_max
        self._functions = {function.id: function for function in check_ids(functions)}
        self._keys = _signing_keys(signing_key)
        self._dev = os.environ.get("ROTOR_DEV", "").lower() in ("1", "true") if dev is None else dev
        if not self._keys and not self._dev:
            raise ConfigError(
                "serve_workflow has no signing key, so anyone could invoke the functions; set ROTOR_SIGNING_KEY to the "
                "workspace's (`rotor keys create` shows it), or ROTOR_DEV=1 on your own machine"
            )
        if self._keys:
            signing.sign(b"", message_id="start", timestamp=0, keys=self._keys)  # a key that is none shows now
        self._serve_url = serve_url
        self._api_key, self._base_url = api_key, base_url
        self._threads = threads
        self._version = code_version(functions, version)
        self._taken = TakenIds()

    async def answer(self, request: Request) -> Answer:
        """The response to `request`. Raises nothing that the request could cause."""
        answers = {"GET": self._manifest, "PUT": self._register, "POST": self._invoke}
        try:
            if request.method not in answers:
                allow = {**PROBLEM, "allow": ", ".join(answers)}
                return Answer(405, json.encode({"status": 405, "title": "Method Not Allowed"}), allow)
            return await answers[request.method](request)
        except RefusedError as refused:
            return refused.answer

    def specs(self) -> list[FunctionSpec]:
        """What is served."""
        return [function.spec for function in self._functions.values()]

    async def _manifest(self, request: Request) -> Answer:
        return Answer(200, json.encode(self._described(None)))

    async def _register(self, request: Request) -> Answer:
        self._admit(request)
        asked = _decoded(Registration, request.body) if request.body else Registration()
        manifest = self._described(self._serve_url or asked.serve_url or request.url)
        try:
            async with Rotor(self._api_key, self._base_url) as rotor:
                registered = await rotor.apps.register(manifest)
        except ApiError as error:
            raise RefusedError(502, "the server refused the registration", str(error)) from None
        except ConnectionLostError as error:
            raise RefusedError(502, "the server was not reached", str(error)) from None
        return Answer(200, json.encode({"registered": registered, "serve_url": manifest.serve_url}))

    async def _invoke(self, request: Request) -> Answer:
        self._admit(request)
        invocation = _decoded(Invocation, request.body)
        function = self._functions.get(invocation.run.function_id)
        if function is None:
            detail = (
                f"this app serves no function {invocation.run.function_id!r}; deploy it here, or register it elsewhere"
            )
            raise RefusedError(404, "unknown function", detail)
        return Answer(200, json.encode(await self._invoker.run(function, invocation, request.is_gone)))

    @cached_property
    def _invoker(self) -> Invocations:
        from rotor.sdk.serve.invocation import Invoker  # noqa: PLC0415  (imports aiohttp, which takes a while)

        return Invoker(self._keys, threads=self._threads)

    def _described(self, serve_url: str | None) -> Manifest:
        return Manifest(functions=self.specs(), version=self._version, serve_url=serve_url)

    def _admit(self, request: Request) -> None:
        """Refuse what is too large, not signed, or signed but sent before."""
        if len(request.body) > self.body_bytes_max:
            detail = (
                f"the body is over {self.body_bytes_max:,} bytes; body_bytes_max of serve_workflow raises the limit"
            )
            raise RefusedError(413, "too large", detail)
        if not self._keys:
            if "origin" in request.headers:
                raise RefusedError(403, "from a web page", "in development mode requests of browsers are refused")
            return
        now = time.time()
        try:
            signing.verify(request.body, request.headers, keys=self._keys, now=now, tolerance_seconds=TOLERANCE_SECONDS)
        except SignatureError as error:
            log.warning("refused a %s: %s", request.method, error)
            raise RefusedError(401, "not signed by the workspace", str(error)) from None
        try:
            self._taken.take(request.headers["webhook-id"], now)
        except SignatureError as error:
            log.warning("refused a %s: %s", request.method, error)
            raise RefusedError(409, "sent before", str(error)) from None


def same_path(path: str, served: str) -> bool:
    """Whether a request's `path` is the serve path, with or without a slash at its end."""
    return path.rstrip("/") == served.rstrip("/")


def _signing_keys(given: str | Sequence[str] | None) -> list[str]:
    """The keys to verify with: several while one takes over from another."""
    if given is None:
        given = os.environ.get("ROTOR_SIGNING_KEY", "")
    keys = given.split(",") if isinstance(given, str) else list(given)
    return [key.strip() for key in keys if key.strip()]


def _decoded(kind: type[T], body: bytes) -> T:
    try:
        return json.decode_as(body, kind)
    except PayloadError as error:
        raise RefusedError(400, "cannot be read", f"the body is no {kind.__name__}: {error}") from None
