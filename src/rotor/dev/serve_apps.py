"""Apps that serve their functions over HTTP: asked what they serve, and registered as that.

The app need not know the server for this: GET on its serve path answers a manifest, which is registered under the
address that we asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from rotor.dev.reports import describe
from rotor.errors import ApiError, ConfigError, ConnectionLostError
from rotor.protocol.messages import Manifest
from rotor.sdk.client import Rotor

__all__ = ["ServeApps", "read_manifest"]

TIMEOUT_SECONDS = 10
AGAIN_SECONDS = 1.0
"""How often `rotor dev` looks whether an app serves something else now."""


async def read_manifest(url: str) -> Manifest:
    """What the app at `url` serves.

    Raises `ConnectionLostError` where it does not answer, `ConfigError` where the answer is not a serve app's.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            status, body = response.status, await response.read()
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise ConfigError(
            f"{url!r} is not a URL: give the app's serve path, as http://127.0.0.1:8000/api/rotor"
        ) from None
    except (aiohttp.ClientError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise ConnectionLostError(f"the app at {url} does not answer ({reason}): is it running?") from None
    try:
        if 300 <= status < 400:
            # The server, which is told this address, would not follow it either.
            raise ConfigError(f"{url} redirects elsewhere: give the address at which the app itself answers")
        if status != 200:
            raise ConfigError(f"the app answers {status} at {url}: is this the path given to serve_workflow?")
        manifest = msgspec.json.decode(body, type=Manifest)
    except msgspec.MsgspecError:
        raise ConfigError(f"the answer of {url} is not a list of functions: is serve_workflow mounted there?") from None
    return msgspec.structs.replace(manifest, serve_url=url)


class ServeApps:
    """Keeps the serve apps of `rotor dev` registered as what they serve now."""

    def __init__(self, urls: Sequence[str], client: Rotor, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        self._known: dict[str, Manifest | str] = dict.fromkeys(urls, "")

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(AGAIN_SECONDS)

    async def tick(self) -> None:
        """Ask each app once, register what is new, and tell each piece of news once."""
        for url, known in self._known.items():
            try:
                manifest = await read_manifest(url)
                if manifest != known:
                    await self._client.apps.register(manifest)
                    self._say(describe(f"App at {url}", manifest.functions))
                self._known[url] = manifest
            except (ConfigError, ConnectionLostError, ApiError) as error:
                if str(error) != known:
                    self._say(f"App at {url}: {error}")
                self._known[url] = str(error)
