"""A migration is applied beside a server that runs, which goes on serving and does not need to know it."""

from __future__ import annotations

import asyncio

import pytest

from rotor import Context, create_function
from rotor.store.migrate import migrate, migrations, pending
from tests.operate.house import reaches, serving

NEXT = """-- What a later version might bring: columns that older servers do not write, a table and an index.
ALTER TABLE runs ADD COLUMN priority int NOT NULL DEFAULT 0;
CREATE INDEX runs_priority ON runs (workspace_id, priority) WHERE status = 'queued';
ALTER TABLE steps ADD COLUMN note text;
CREATE TABLE notes (run_id uuid PRIMARY KEY, text text NOT NULL);
"""


async def test_an_older_server_serves_through_a_migration_and_starts_again_after_it(
    dsn: str, clean_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @create_function(id="count", trigger={"event": "count"})
    async def count(ctx: Context[int]) -> int:
        total = 0
        for number in range(ctx.event.data):
            total += await ctx.step.run("add", lambda number=number: number)
        return total

    @create_function(id="wait", trigger={"event": "wait"})
    async def wait(ctx: Context) -> str:
        return str(await ctx.step.wait_for_signal("go", signal="go", timeout="1d"))

    await migrate(dsn, schema=clean_schema)
    newer = [*migrations(), (len(migrations()) + 1, "next", NEXT)]
    async with serving(dsn, clean_schema, [count, wait]) as rotor:
        waiting = (await rotor.events.get(await rotor.send("wait", None))).runs[0].id
        await reaches(rotor, waiting, "go")
        migrated = asyncio.Event()
        outputs: list[object] = []

        async def keep_busy() -> None:
            while not migrated.is_set() or len(outputs) < 20:
                run = (await rotor.events.get(await rotor.send("count", 5))).runs[0]
                outputs.append((await rotor.runs.wait(run.id, timeout=60)).output)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(keep_busy())
            with monkeypatch.context() as later:
                later.setattr("rotor.store.migrate.migrations", lambda: newer)
                assert await migrate(dsn, schema=clean_schema) == ["next"]
            migrated.set()
        assert set(outputs) == {10}

    assert await pending(dsn, schema=clean_schema) == []
    async with serving(dsn, clean_schema, [count, wait]) as rotor:
        await rotor.complete_signal("go", "on")
        assert (await rotor.runs.wait(waiting, timeout=60)).output == "on"
