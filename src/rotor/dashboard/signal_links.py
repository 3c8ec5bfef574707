"""The page behind a link that completes a signal: it shows two buttons, and only pressing one of them decides.

Scanners of mail and previews of chats open links; so opening one does nothing. The link's token is all that is asked
for: no other page can know it, so the form needs no token of its own.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from rotor.dashboard.door import STRANGERS_FORM_BYTES, closed, read_form, theme_of, told
from rotor.dashboard.templating import render
from rotor.protocol import json
from rotor.store.audit import Actor, acting
from rotor.store.problems import Conflict, Invalid
from rotor.store.signal_links import SignalLink, SignalLinks
from rotor.store.store import Store

__all__ = ["SignalLinkPages"]

NAME_CHARACTERS = 100
GONE = "This link is not valid. It may have expired, or was not copied whole."
DECIDED = "This is decided already."


class SignalLinkPages:
    """`/links/{token}`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._links = SignalLinks(store.database)

    def routes(self) -> list[Route]:
        return [
            Route("/links/{token}", self.show, methods=["GET"]),
            Route("/links/{token}", self.decide, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The question, with its buttons."""
        try:
            link = await self._links.find(request.path_params["token"])
            if link is None:
                return _page(request, 404, GONE)
            if await self._links.is_used(link):
                return _page(request, 410, DECIDED)
        except Exception as error:
            return closed(told(request, error))
        return _page(request, 200, "", link)

    async def decide(self, request: Request) -> Response:
        """A button was pressed."""
        try:
            link = await self._links.find(request.path_params["token"])
            if link is None:
                return _page(request, 404, GONE)
            acting.set(Actor("signal link", address=request.client.host if request.client else None))
            approved, by = _decision(await read_form(request, bytes_max=STRANGERS_FORM_BYTES))
            await self._links.complete(self._store, link, json.encode({"approved": approved, "by": by}))
        except Conflict:
            return _page(request, 410, DECIDED)
        except Exception as error:
            return closed(told(request, error))
        return _page(request, 200, f"Thank you: {'approved' if approved else 'rejected'}.")


def _decision(form: dict[str, str]) -> tuple[bool, str]:
    """Whether it is approved, and by whom. Raises `Invalid`."""
    decision, by = form.get("decision", ""), form.get("by", "").strip()
    if decision not in ("approve", "reject"):
        raise Invalid([("decision", "is neither approve nor reject: press one of the buttons")])
    if len(by) > NAME_CHARACTERS:
        raise Invalid([("by", f"has more than {NAME_CHARACTERS} characters")])
    return decision == "approve", by


def _page(request: Request, status: int, message: str, link: SignalLink | None = None) -> Response:
    text = render(
        "signal_link.html", visit=None, theme=theme_of(request), message=message, link=link, name_max=NAME_CHARACTERS
    )
    return closed(HTMLResponse(text, status))
