"""Stands in for the enrichment service on this machine, so that the workflow runs before you have an account.

    python sample_api.py

Everybody at example.com is known, nobody elsewhere.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

import settings

DOMAIN = "example.com"


async def people(request: web.Request) -> web.Response:
    name, _, domain = request.query["email"].partition("@")
    if domain != DOMAIN:
        raise web.HTTPNotFound
    return web.json_response({"name": name.title(), "title": "Head of Growth"})


async def companies(request: web.Request) -> web.Response:
    if request.query["domain"] != DOMAIN:
        raise web.HTTPNotFound
    return web.json_response({"name": "Example Ltd", "employees": 230})


def create_app() -> web.Application:
    app = web.Application()
    app.add_routes([web.get("/people", people), web.get("/companies", companies)])
    return app


if __name__ == "__main__":
    web.run_app(create_app(), host="127.0.0.1", port=urlsplit(settings.API_URL).port or 8900)
