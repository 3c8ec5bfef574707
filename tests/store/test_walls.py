"""No statement leaves the workspace out: what is of one workspace is asked through it, and sees nothing of another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from rotor.store import statements
from rotor.store.database import Database, WorkspaceConnection
from rotor.store.statements import ACROSS, statement, workspace_statement

QUERIES = Path(statements.__file__).parent / "queries"
NAMES = sorted(path.stem for path in QUERIES.glob("*.sql"))

RUN, QUEUED, LEASE, POSTED, NEW, FAILED = (UUID(int=n) for n in range(1, 7))

MONTH = timedelta(days=30)
SAYS_NOTHING = {"2", "1", "0", "False"}
"""The other workspace's own id, that a row of its own is new, that there is nothing."""


FILL = f"""
INSERT INTO workspaces (name) VALUES ('two');
UPDATE workspaces SET revision = 7 WHERE id = 1;
INSERT INTO api_keys (id, workspace_id, name, prefix, key_hash, scopes) VALUES ('{RUN}', 1, '', 'p', 'h', '{{read}}');
INSERT INTO api_keys (id, workspace_id, name, prefix, key_hash, scopes, expires_at)
VALUES ('{QUEUED}', 1, '', 'login', 'l', '{{read}}', '2020-01-01');
INSERT INTO audit_log (workspace_id, at, id, actor, action, target)
VALUES (1, rotor_now(), '{RUN}', 'ada', 'run.cancelled', 'ours');
INSERT INTO signing_keys (workspace_id, key) VALUES (1, 'ours');
INSERT INTO functions (workspace_id, id) VALUES (1, 'f');
INSERT INTO triggers (workspace_id, function_id, position, event_name) VALUES (1, 'f', 0, 'e');
INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position)
VALUES (1, 'event', 'e', '1', rotor_now(), rotor_now(), rotor_now(), 1);
INSERT INTO leases (id, workspace_id, kind, holder, slots, expires_at, connection)
VALUES ('{LEASE}', 1, 'worker', 'w', 1, rotor_now() + interval '1 hour', 1),
       ('{POSTED}', 1, 'invocation', 'https://app', 1, rotor_now() + interval '1 hour', 0);
INSERT INTO runs (id, workspace_id, function_id, event_id, status, changed_group, created_at, due_at)
VALUES ('{RUN}', 1, 'f', 'event', 'waiting', 1, rotor_now(), NULL),
       ('{QUEUED}', 1, 'f', 'event', 'queued', 1, rotor_now(), rotor_now());
INSERT INTO steps (run_id, id, index, op, status, started_at, settled_group, position)
VALUES ('{RUN}', 's', 0, 'wait_for_signal', 'waiting', rotor_now(), 1, 0),
       ('{RUN}', 'nap', 0, 'sleep', 'waiting', rotor_now(), 1, 0);
INSERT INTO run_logs (run_id, position, workspace_id, line, at, level, message)
VALUES ('{RUN}', 0, 1, 1, rotor_now(), 'info', 'ours');
INSERT INTO signals (workspace_id, id, run_id, step_id, step_index) VALUES (1, 'signal', '{RUN}', 's', 0);
INSERT INTO used_signal_links VALUES (1, 'used', 'infinity');
INSERT INTO event_names VALUES (1, 'e');
INSERT INTO event_paths VALUES (1, 'e', 'data.undated', 'infinity');
INSERT INTO functions (workspace_id, id, serve_url) VALUES (1, 'served', 'https://app');
INSERT INTO waits (run_id, step_id, step_index, workspace_id, deadline, topic)
VALUES ('{RUN}', 's', 0, 1, rotor_now() + interval '1 hour', 'signal:signal'),
       ('{RUN}', 'nap', 0, 1, rotor_now() + interval '1 hour', NULL);
INSERT INTO runs (id, workspace_id, function_id, event_id, status, changed_group, created_at, ended_at, error)
VALUES ('{FAILED}', 1, 'f', 'event', 'failed', 1, rotor_now(), rotor_now(), '{{}}');
INSERT INTO steps (run_id, id, index, op, status, started_at, ended_at, settled_group, position, event_id)
VALUES ('{FAILED}', 'w', 0, 'wait_for_event', 'completed', rotor_now(), rotor_now(), 1, 0, 'event');
"""

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "accept_event": (7, "new", "e", b"1", None, [1], MONTH, [NEW], ["f"], [LEASE], [1], [1]),
    "accept_event_and_wake": (7, "new", "e", b"1", None, [1], MONTH, LEASE, 1, RUN, 1, "s", 0, b"", [1]),
    "add_api_key": (NEW, "", "p", b"new", ["read"], None),
    "add_audit_entries": ("ada", None, None, "key.created", ["key"], [NEW]),
    "add_event_use": ("e", "data.id"),
    "add_signing_key": ("new",),
    "add_triggers": (["f"], [1], ["e"], [None], [None], [None], [None]),
    "begin_invocation": (POSTED,),
    "cancel_runs_of_function": ("f", 10),
    "claim_runs": (LEASE, ["f"], 10, 1, 100),
    "complete_signal": ("signal", b"1", MONTH),
    "date_event_path": ("e", "data.undated"),
    "delete_ended_logins": (),
    "delete_function": ("f",),
    "delete_triggers": (["f"],),
    "count_open_runs": (10,),
    "find_functions": (["f"],),
    "get_event": ("event",),
    "get_run": (RUN,),
    "get_run_outline": (RUN, 10),
    "get_run_with_steps": (RUN, True, 10, 1_000),
    "get_step_outline": (RUN, "s", 0, 10),
    "hasten_wait": (RUN, "nap", 0),
    "insert_lease": (NEW, "w", "", "", 1, MONTH),
    "list_apps": (10,),
    "list_audit_entries": (None, None, None, None, 10, None),
    "list_events": (None, None, 10, 10, 10),
    "list_events_of_name": (None, None, 10, 10, 10, "e"),
    "list_failed_run_outlines": (None, None, None, None, None, 10, 10),
    "list_functions": ("", 10),
    "list_latest_run_logs": (RUN, 10),
    "list_latest_runs": (["f"], 10),
    "list_next_deadlines": (10, 10),
    "list_resumed_waits": ("event", 10),
    "list_run_logs": (RUN, -1, 10),
    "list_run_outlines": (None, None, None, None, None, 10, 10),
    "list_run_outlines_of_event": (None, None, None, None, None, 10, "event", None),
    "list_run_outlines_of_function": (None, None, None, None, None, 10, 10, "f"),
    "list_runs": (None, None, None, None, 10, 1_000),
    "list_runs_of_event": (None, None, None, None, 10, 1_000, "event", None),
    "list_runs_of_function": (None, None, None, None, 10, 1_000, "f"),
    "list_signing_keys": (),
    "list_step_changes": (RUN, 0, -1, "", -1, 10, 1_000),
    "list_step_outlines": (RUN, 10, 10, 1_000),
    "list_steps": (RUN, datetime(2020, 1, 1, tzinfo=UTC), "", -1, 10, 1_000),
    "list_waiting_signals": (None, None, 10),
    "list_workers": (10, MONTH),
    "lock_workspace": (),
    "pause_function": ("f", True),
    "put_functions": (["f"], [7], None, "", ""),
    "raise_revision": (),
    "read_function_figures": (["f"], 10),
    "read_minutes": (10,),
    "read_run_for_cancel": (RUN,),
    "read_run_for_replay": (RUN,),
    "read_signal_delivery": ("signal",),
    "read_signal_use": ("signal", b"used"),
    "resume_lease": (LEASE, MONTH),
    "search_run_payloads": ([RUN], ["1"], 1_000),
    "retire_signing_keys": ("another",),
    "use_signal_link": (b"new", datetime(2030, 1, 1, tzinfo=UTC)),
}


def of_one_workspace(name: str) -> bool:
    try:
        workspace_statement(name)
    except LookupError:
        return False
    return True


def of_all(name: str) -> bool:
    try:
        statement(name)
    except LookupError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_is_either_of_one_workspace_or_of_all(name: str) -> None:
    assert of_one_workspace(name) != of_all(name)


def test_what_heeds_no_workspace_is_listed_once_with_its_reason() -> None:
    listed = [name for names in ACROSS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(NAMES)
    assert [name for name in listed if of_one_workspace(name)] == []
    assert all(len(reason) > 20 for reason in ACROSS)


def test_every_statement_of_one_workspace_is_tried_below() -> None:
    assert set(ARGUMENTS) == {name for name in NAMES if of_one_workspace(name)}


async def test_a_statement_of_one_workspace_does_not_run_without_it(database: Database) -> None:
    with pytest.raises(LookupError, match="of one workspace"):
        await database.fetch("list_functions", 1, "", 10)
    with pytest.raises(LookupError, match="does not name its workspace"):
        await database.of(1).fetch("find_api_key", b"")


@pytest.fixture
async def filled(database: Database) -> Database:
    async with database.connection() as connection:
        await connection.raw.execute(FILL)
    return database


async def everything(connection: WorkspaceConnection) -> dict[str, list[str]]:
    """All rows of the first workspace, and its own, as text."""
    tables = await connection.raw.fetch(
        "SELECT table_name AS name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND column_name = 'workspace_id'"
    )
    rows = {"steps": [row[0] for row in await connection.raw.fetch("SELECT steps::text FROM steps ORDER BY 1")]}
    own = await connection.raw.fetch("SELECT workspaces::text FROM workspaces WHERE id = 1")
    rows["workspaces"] = [row[0] for row in own]
    for table in tables:
        found = f"SELECT t::text FROM {table['name']} AS t WHERE workspace_id = 1 ORDER BY 1"
        rows[table["name"]] = [row[0] for row in await connection.raw.fetch(found)]
    return rows


async def tried(database: Database, workspace_id: int, name: str) -> tuple[set[Any], bool]:
    """What a statement tells, and whether it changes what the first workspace has; then it is taken back."""
    async with database.of(workspace_id).connection() as connection:
        transaction = connection.raw.transaction()
        await transaction.start()
        before = await everything(connection)
        try:
            rows = await connection.fetch(name, *ARGUMENTS[name])
            changed = await everything(connection) != before
        except asyncpg.ForeignKeyViolationError:
            # A trigger of a function that the other workspace does not have.
            rows, changed = [], False
        finally:
            await transaction.rollback()
    return {str(value) for row in rows for value in row.values() if value is not None}, changed


async def test_through_another_workspace_no_statement_sees_or_changes_anything(filled: Database) -> None:
    for name in ARGUMENTS:
        told, changed = await tried(filled, 1, name)
        assert told or changed, name
        told, changed = await tried(filled, 2, name)
        assert (told - SAYS_NOTHING, changed) == (set(), False), name


@pytest.mark.parametrize("name", ["accept_event", "accept_event_and_wake"])
async def test_an_event_goes_to_no_worker_and_no_run_of_another_workspace(filled: Database, name: str) -> None:
    prepare = f"""
        UPDATE workspaces SET revision = 7 WHERE id = 2;
        INSERT INTO functions (workspace_id, id) VALUES (2, 'f');
        UPDATE runs SET kept_by = '{LEASE}', kept_group = 1 WHERE id = '{RUN}';
        UPDATE waits SET unlooked = false, since = rotor_now();
    """
    met = []
    for workspace_id in (2, 1):
        async with filled.of(workspace_id).connection() as connection:
            transaction = connection.raw.transaction()
            await transaction.start()
            await connection.raw.execute(prepare)
            before = await everything(connection)
            (row,) = await connection.fetch(name, *ARGUMENTS[name])
            met.append((bool(row.get("started") or row.get("woken")), await everything(connection) != before))
            await transaction.rollback()
    assert met == [(False, False), (True, True)]
