"""Pages and their parts from templates. Every value is escaped; nothing from outside is ever markup."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from rotor.dashboard import words

__all__ = ["STATIC", "asset", "event_path", "function_path", "render"]

STATIC = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "shell.js": "text/javascript",
    "run.css": "text/css",
    "run.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@cache
def asset(name: str) -> bytes:
    """The content of a static file."""
    return files("rotor.dashboard").joinpath("static", name).read_bytes()


@cache
def asset_url(name: str) -> str:
    """Where a static file is served. Its address changes with its content, so that browsers may keep it for good."""
    return f"/dashboard/static/{hashlib.sha256(asset(name)).hexdigest()[:12]}/{name}"


def event_path(event_id: str) -> str:
    """The address of an event's page."""
    return f"/dashboard/events/{quote(event_id, safe='')}"


def function_path(function_id: str) -> str:
    """The address of a function's page."""
    return f"/dashboard/functions/{quote(function_id, safe='')}"


def render(template: str, **values: Any) -> Markup:
    """The text of a template, ready to stand in another."""
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704 - escaped by the template  # nosec B704


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rotor.dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = words.duration
    environment.filters["instant"] = words.instant
    environment.filters["minute"] = words.minute
    environment.filters["pretty"] = words.pretty
    environment.filters["byte_size"] = words.byte_size
    environment.filters["milliseconds"] = lambda at: round(at.timestamp() * 1000)
    environment.filters["spoken"] = lambda name: name.replace("_", " ")
    environment.filters["beginning"] = words.beginning
    environment.globals["asset_url"] = asset_url
    environment.globals["event_path"] = event_path
    environment.globals["function_path"] = function_path
    environment.globals["waits_for"] = words.waits_for
    environment.globals["match_text"] = words.match_text
    environment.globals["OPS"] = words.OPS
    environment.globals["can_wake"] = words.can_wake
    return environment
