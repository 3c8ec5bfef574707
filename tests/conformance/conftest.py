"""The fixtures of the suite: each shape is started once, when the first test asks for it, and stopped at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import aiohttp
import pytest

from tests.conformance.service import Service
from tests.conformance.shapes import SHAPES, Shape, start

KEYED = [name for name in SHAPES if name != "dev"]

Started = Callable[[str], Shape]


@pytest.fixture(scope="session")
def started(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Gives the shape of a name, running."""
    shapes: dict[str, Shape] = {}
    with ExitStack() as stack:

        def shape(name: str) -> Shape:
            if name not in shapes:
                shapes[name] = stack.enter_context(start(name, dsn, tmp_path_factory.mktemp(name)))
            return shapes[name]

        yield shape


@pytest.fixture(scope="session", params=SHAPES)
def shape(request: pytest.FixtureRequest, started: Started) -> Shape:
    """Each shape in turn."""
    return started(request.param)


@pytest.fixture(scope="session", params=KEYED)
def keyed_shape(request: pytest.FixtureRequest, started: Started) -> Shape:
    """Each shape that asks for keys."""
    return started(request.param)


@pytest.fixture(scope="session")
def dev_shape(started: Started) -> Shape:
    return started("dev")


@pytest.fixture(scope="session")
def serve_shape(started: Started) -> Shape:
    return started("serve")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture
async def service(shape: Shape, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    """Each shape in turn, for the workspace that the functions are in."""
    service = Service(shape, http)
    yield service
    await service.rotor.aclose()


@pytest.fixture
async def keyed(keyed_shape: Shape, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    """Each shape that asks for keys."""
    service = Service(keyed_shape, http)
    yield service
    await service.rotor.aclose()


@pytest.fixture
async def dev(dev_shape: Shape, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    service = Service(dev_shape, http)
    yield service
    await service.rotor.aclose()


@pytest.fixture
async def serve(serve_shape: Shape, http: aiohttp.ClientSession) -> AsyncIterator[Service]:
    service = Service(serve_shape, http)
    yield service
    await service.rotor.aclose()


@pytest.fixture
def key() -> str:
    """Under which this test's runs leave their notes."""
    return uuid4().hex
