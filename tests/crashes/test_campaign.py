"""Whatever is killed, stopped, frozen or cut off, wherever and whenever: every promise holds, and work flows again.

One set of processes lives through all of it. For longer: `python -m tests.crashes.campaign --minutes 10 --seed 7`.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.crashes.campaign import Load, missing, strike_at_random
from tests.crashes.faults import (
    APP_DIES,
    CUT_OFF,
    FROZEN,
    LINK_FAULTS,
    LINKS,
    PROMISED,
    SERVERS_DIE,
    WORKER_DIES,
)
from tests.crashes.lab import Lab, open_lab
from tests.crashes.verdict import judge

SEED = 2197
"""Of bad luck that kills a server, a worker, the app and Postgres, and breaks links beside them."""

pytestmark = [pytest.mark.timeout(200), pytest.mark.asyncio(loop_scope="module")]


async def die_at_named_points(lab: Lab) -> None:
    await asyncio.gather(
        *(lab.run_server_into(number, points) for number, points in enumerate(SERVERS_DIE)),
        lab.run_worker_into(1, WORKER_DIES),
        lab.run_app_into(APP_DIES),
    )


async def are_asked_to_stop(lab: Lab) -> None:
    for server, worker in ((0, 1), (1, 0)):
        await asyncio.gather(lab.end_server(server, signal.SIGTERM), lab.end_worker(worker, signal.SIGTERM))
    await lab.end_app(signal.SIGTERM)


async def stand_still(lab: Lab) -> None:
    """The others take up what these hold, and then they come back."""
    await asyncio.gather(lab.freeze_server(0), lab.freeze_worker(0), lab.freeze_app())


async def are_cut_off(lab: Lab) -> None:
    """Server 0 lives, and hears and is heard by nobody."""
    await asyncio.gather(*(lab.break_link(link, CUT_OFF) for link in LINKS))


async def lose_postgres(lab: Lab) -> None:
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        await lab.restart_postgres(how)
    await lab.exhaust_connections()


async def wait_for_postgres(lab: Lab) -> None:
    await lab.freeze_postgres()


async def have_broken_links(lab: Lab) -> None:
    for how in LINK_FAULTS:
        breaking = [lab.break_link(link, how, seconds=0.4, after_bytes=60 * n) for n, link in enumerate(LINKS, start=1)]
        await asyncio.gather(*breaking)


async def have_bad_luck(lab: Lab) -> None:
    brief = sorted(fault for fault in PROMISED if fault[1] not in (FROZEN, CUT_OFF))
    await strike_at_random(lab, SEED, random.Random(SEED).sample(brief, 8))


STAGES: list[Callable[[Lab], Awaitable[None]]] = [
    die_at_named_points,
    are_asked_to_stop,
    stand_still,
    are_cut_off,
    lose_postgres,
    wait_for_postgres,
    have_broken_links,
    have_bad_luck,
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def load(lab: Lab) -> Load:
    return Load(lab, seed=1)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
async def test_no_promise_is_broken_where_processes(
    lab: Lab, load: Load, stage: Callable[[Lab], Awaitable[None]]
) -> None:
    async with load:
        await stage(lab)
    await judge(lab, load.sent)


async def test_every_fault_that_is_promised_was_injected(lab: Lab) -> None:
    assert missing(lab) == []
