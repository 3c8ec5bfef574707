"""Whatever is killed, frozen or cut off, wherever and whenever: every promise holds, and work flows again at once.

A longer campaign: `python -m tests.crashes.campaign --minutes 10 --seed 7`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.crashes.campaign import LINK_FAULTS, LONG_SECONDS, Load, settle, strike_at_random
from tests.crashes.lab import LINKS, Lab, open_lab
from tests.crashes.verdict import judge

pytestmark = pytest.mark.timeout(300)

SERVER_DIES = (
    "rotor.store.committer:Committer._write before 9 KILL",
    "rotor.store.committer:Committer._write after 9 KILL",
    "rotor.store.committer:write after 9 KILL",
    "rotor.store.intake:Intake._write after 5 KILL",
    "rotor.services.dispatcher:claim_runs after 5 KILL",
    "rotor.services.dispatcher:claim_invocations after 5 KILL",
    "rotor.services.matcher:index_events after 4 KILL",
    "rotor.services.matcher:look_at_waits before 2 KILL",
    "rotor.store.signals:complete before 1 KILL",
    "rotor.store.cancellation:cancel after 1 KILL",
)
# Fewer than LOSSES: a run may be there each time.
WORKER_DIES = (
    "rotor.sdk.bodies:Bodies._report before 4 KILL",
    "rotor.sdk.session:Session._committed before 4 KILL",
    "rotor.sdk.session:Session._set_parked before 2 KILL",
    "rotor.sdk.held_runs:HeldRuns._begin after 4 KILL",
)
APP_DIES = (
    "rotor.sdk.bodies:Bodies._report before 4 KILL",
    "rotor.sdk.serve.checkpoints:Checkpoints._post before 4 KILL",
    "rotor.sdk.serve.checkpoints:Checkpoints._post after 4 KILL",
    "rotor.sdk.serve.invocation:HeldRun.go after 4 KILL",
)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


async def test_deaths_at_any_point_and_breaks_of_any_link_break_no_promise(lab: Lab) -> None:
    load = Load(lab, seed=1)
    await asyncio.gather(lab.run_server_into(SERVER_DIES), lab.run_worker_into(WORKER_DIES), lab.run_app_into(APP_DIES))
    assert lab.faults == len(SERVER_DIES) + len(WORKER_DIES) + len(APP_DIES)
    for way in LINK_FAULTS:
        breaking = [lab.break_link(link, way, seconds=0.4, after_bytes=60 * place) for place, link in enumerate(LINKS)]
        await asyncio.gather(*breaking)
    await settle(lab, load)
    assert all(link.broken for link in lab.links.values())
    await judge(lab, load.sent)


async def test_standing_still_for_longer_than_a_lease_and_faults_at_random_break_no_promise(lab: Lab) -> None:
    seed = random.randrange(10**6)
    lab.story.append(f"seed {seed}")
    load = Load(lab, seed)
    await asyncio.sleep(0.5)
    await asyncio.gather(
        lab.freeze(lab.workers[0], "worker 0", LONG_SECONDS),
        lab.freeze(lab.app, "app", LONG_SECONDS),
        lab.freeze_server(1, LONG_SECONDS),
    )
    await lab.freeze_postgres(LONG_SECONDS)
    before = lab.faults
    await strike_at_random(lab, seed, seconds=8, freeze_seconds=1.0)
    assert lab.faults > before
    await settle(lab, load)
    await judge(lab, load.sent)
