"""Serves on Django: a URL pattern whose view is exempt from the CSRF check, since its requests prove themselves.

The view is a plain function, which Django runs under WSGI and ASGI alike; the invocation runs on the process's
background loop.
"""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import re_path  # type: ignore[import-untyped]
from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]

from rotor.sdk.loop_thread import shared_loop_thread
from rotor.sdk.serve.app import Request, ServedApp

__all__ = ["url_pattern"]


def url_pattern(served: ServedApp, path: str) -> Any:
    """The entry of `urlpatterns` that serves at `path`."""

    @csrf_exempt  # type: ignore[untyped-decorator]
    def rotor_view(request: HttpRequest) -> HttpResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = f"{request.scheme}://{headers.get('host', '')}{request.path}"
        body = request.read(served.body_bytes_max + 1)  # not request.body, which has a smaller limit of its own
        answer = shared_loop_thread().run(served.answer(Request(request.method, url, headers, body)))
        return HttpResponse(answer.body, status=answer.status, headers=answer.headers)

    return re_path(f"^{re.escape(path.strip('/'))}/?$", rotor_view)
