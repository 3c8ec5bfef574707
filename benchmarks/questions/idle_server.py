"""What does a server do when there is nothing to do: how many statements does it send, and what CPU does it take?"""

from __future__ import annotations

import asyncio

from benchmarks.harness.figures import Figure
from benchmarks.harness.stage import Stage

SETTLE_SECONDS = 3
SECONDS = 30


async def ask(stage: Stage) -> list[Figure]:
    """With one idle worker. Every statement is counted in Postgres' log, those of transactions too."""
    await stage.rows.execute("ALTER ROLE rotor SET log_statement = 'all'")
    try:
        await stage.open()
        await asyncio.sleep(SETTLE_SECONDS)
        statements, used = logged(stage), stage.usage()
        seconds = SECONDS / 3 if stage.quick else SECONDS
        await asyncio.sleep(seconds)
        sent, spent = logged(stage) - statements, stage.usage().since(used)
    finally:
        await stage.rows.execute("ALTER ROLE rotor RESET log_statement")
    share = spent["server"] / seconds * 100
    return [
        Figure(
            what="idle server: statements to Postgres", value=sent / seconds, unit="/s", better="less", reach=5, aim=1
        ),
        Figure(
            what="idle server: CPU of one core",
            value=share,
            unit="%",
            better="less",
            reach=1,
            aim=0.2,
            details={"seconds": seconds, "cpu_seconds": spent},
        ),
    ]


def logged(stage: Stage) -> int:
    """How many statements Postgres has logged."""
    lines = stage.postgres.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return sum(" LOG:  execute " in line or " LOG:  statement: " in line for line in lines)
