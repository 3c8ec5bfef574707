"""How much memory does a server take while 100,000 runs are open?"""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness.figures import Figure
from benchmarks.harness.stage import Stage
from benchmarks.harness.usage import memory_bytes
from benchmarks.questions.sleepers import HOUR, park

RUNS = 100_000
AT_ONCE = 5_000
SETTLE_SECONDS = 3


async def ask(stage: Stage) -> list[Figure]:
    """All asleep, parked by this server. Resident memory of the server's process, without what it shares."""
    await stage.open()
    for _ in range(stage.size(RUNS) // AT_ONCE):
        await park(stage, AT_ONCE, [time.time() + HOUR])
    await asyncio.sleep(SETTLE_SECONDS)
    used = {tree.name: memory_bytes([tree]) / 1e6 for tree in stage.trees if tree.name != "postgres"}
    return [
        Figure(
            what="server memory with 100,000 open runs",
            value=used["server"],
            unit="MB",
            better="less",
            reach=150,
            aim=80,
            details=used,
        )
    ]
