"""What columns of one row may hold together is held by Postgres, whoever writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from rotor.store.database import Database
from tests.store.rows import put_run, put_step
from tests.store.tables import change

THEN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        ("runs_queued_is_due", {"status": "queued", "due_at": None}),
        ("runs_queued_is_due", {"status": "waiting", "due_at": THEN}),
        ("runs_running_is_held", {"status": "running", "lease_id": None}),
        ("runs_running_is_held", {"status": "completed", "lease_id": uuid4()}),
        ("runs_ended_has_end", {"status": "cancelled", "ended_at": None}),
        ("runs_ended_has_end", {"status": "waiting", "ended_at": THEN}),
        ("runs_failed_has_error", {"status": "failed", "error": None}),
        ("runs_failed_has_error", {"status": "completed", "error": b"{}"}),
        ("runs_child_has_step", {"parent_run_id": uuid4(), "parent_step_id": "child"}),
        ("runs_child_has_step", {"parent_run_id": uuid4(), "parent_step_index": 0}),
        ("runs_child_has_step", {"parent_step_id": "child", "parent_step_index": 0}),
        ("runs_versions_have_beginnings", {"versions": ["one"]}),
        ("runs_status", {"status": "asleep"}),
        ("natural_int_check", {"losses": -1}),
        ("run_depth_check", {"depth": 33}),
    ],
)
async def test_a_run_whose_columns_do_not_fit_together_is_not_written(
    database: Database, rule: str, columns: dict[str, Any]
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await put_run(database, **columns)

    assert raised.value.constraint_name == rule


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        ("steps_ended_has_end", {"status": "timed_out", "ended_at": None}),
        ("steps_ended_has_end", {"status": "retrying", "ended_at": THEN}),
        ("steps_status", {"status": "asleep"}),
        ("steps_op", {"op": "jump"}),
        ("natural_int_check", {"index": -1}),
    ],
)
async def test_a_step_whose_columns_do_not_fit_together_is_not_written(
    database: Database, rule: str, columns: dict[str, Any]
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await put_step(database, await put_run(database), "step", **columns)

    assert raised.value.constraint_name == rule


@pytest.mark.parametrize(
    ("rule", "update"),
    [
        ("runs_queued_is_due", "UPDATE runs SET due_at = NULL"),
        ("runs_ended_has_end", "UPDATE runs SET status = 'completed', due_at = NULL"),
        ("natural_int_check", "UPDATE runs SET settled = settled - 1"),
        ("steps_ended_has_end", "UPDATE steps SET ended_at = NULL"),
        ("natural_int_check", "UPDATE steps SET attempts = -1"),
    ],
)
async def test_columns_that_fit_together_are_not_changed_apart(database: Database, rule: str, update: str) -> None:
    await put_step(database, await put_run(database), "step")
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await change(database, update)

    assert raised.value.constraint_name == rule
