"""With a key nothing that a run holds stands in the database as it is, and nobody who uses Rotor notices."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from rotor import Context, Rotor, create_function
from rotor.errors import ConfigError
from rotor.store.migrate import migrate
from rotor.store.vault import Vault
from tests.operate.house import reaches, serving

MARK = "hush-77aa"
OLD, NEW = Vault({"old": b"o" * 32}), Vault({"new": b"n" * 32})
BOTH = Vault({"new": b"n" * 32, "old": b"o" * 32})


def fail() -> None:
    raise ValueError(f"{MARK} in an error")


@create_function(id="child", trigger={"event": "child"}, retries=0)
async def child(ctx: Context) -> Any:
    await ctx.step.run("fail", fail)


@create_function(id="holds", trigger={"event": "holds", "match": f'data.secret == "{MARK}"'}, retries=0)
async def holds(ctx: Context) -> Any:
    ctx.logger.info("logged %s", MARK)
    first = await ctx.step.run("first", lambda: {"out": MARK})
    await ctx.step.send_event("send", name="sent", data={"secret": MARK})
    mail = await ctx.step.wait_for_event(
        "mail", event="mail", match=f'data.to == "{MARK}" && data.text.startsWith("{MARK}")', timeout="1d"
    )
    named = await ctx.step.wait_for_event("named", event="named", match={"data.to": MARK}, timeout="1d")
    answer = await ctx.step.wait_for_signal("answer", signal=f"answer-{ctx.run_id}", timeout="1d")
    assert mail is not None
    assert named is not None
    try:
        await ctx.step.invoke("child", workflow=child, data=MARK, timeout="1d")
    except Exception as error:
        return [first, mail.data, named.data, answer, str(error)]


async def stored(dsn: str, schema: str, *, needle: str = MARK) -> list[str]:
    """The tables that have the text somewhere, as text or as the bytes of text."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
    found = []
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        for (table,) in tables:
            # A row as text has bytea in hex.
            texts = f"SELECT count(*) FROM {table} AS row WHERE row::text LIKE $1 OR row::text LIKE $2"
            if await connection.fetchval(texts, f"%{needle}%", f"%{needle.encode().hex()}%"):
                found.append(table)
    finally:
        await connection.close()
    return sorted(set(found) - {"triggers"})


async def begin(rotor: Rotor) -> str:
    """A run that waits for its second event, with the mark in all that it has."""
    run_id = (await rotor.events.get(await rotor.send("holds", {"secret": MARK}))).runs[0].id
    await reaches(rotor, run_id, "mail")
    await rotor.send("mail", {"to": MARK, "text": f"{MARK}!"})
    await reaches(rotor, run_id, "named")
    return run_id


async def finish(rotor: Rotor, run_id: str) -> None:
    await rotor.send("named", {"to": MARK})
    await rotor.complete_signal(f"answer-{run_id}", {"by": MARK})
    run = await rotor.runs.wait(run_id, timeout=60)
    assert run.status == "completed", run.error
    assert run.output[:4] == [{"out": MARK}, {"to": MARK, "text": f"{MARK}!"}, {"to": MARK}, {"by": MARK}]
    assert MARK in run.output[4]


async def test_nothing_is_stored_in_plain_text_while_everything_reads_as_ever(dsn: str, clean_schema: str) -> None:
    await migrate(dsn, schema=clean_schema)
    async with serving(dsn, clean_schema, [holds, child], vault=OLD) as rotor:
        run_id = await begin(rotor)
        assert await stored(dsn, clean_schema) == []
        await finish(rotor, run_id)
        run = await rotor.runs.get(run_id)
        assert {step.id: step.status for step in run.steps}["first"] == "completed"
        assert MARK in str(run.steps)
        assert MARK in str(run.event)
    assert await stored(dsn, clean_schema) == []
    # What is looked for can be found.
    assert "runs" in await stored(dsn, clean_schema, needle="completed")


async def test_keys_rotate_beside_runs_and_a_server_without_the_key_says_so(dsn: str, clean_schema: str) -> None:
    await migrate(dsn, schema=clean_schema)
    async with serving(dsn, clean_schema, [holds, child]) as rotor:
        plain = await begin(rotor)
    assert "events" in await stored(dsn, clean_schema)
    async with serving(dsn, clean_schema, [holds, child], vault=OLD) as rotor:
        await finish(rotor, plain)
        run_id = await begin(rotor)
    for vault, told in [(NEW, "a key that this server does not have"), (None, "are encrypted: start the server with")]:
        with pytest.raises(ConfigError, match=told):
            async with serving(dsn, clean_schema, vault=vault):
                pass
    async with serving(dsn, clean_schema, [holds, child], vault=BOTH) as rotor:
        await finish(rotor, run_id)
