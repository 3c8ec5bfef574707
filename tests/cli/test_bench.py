"""`rotor bench`: what it prints, where it leaves no trace, and that it notices a wrong result."""

from __future__ import annotations

from unittest.mock import patch

import asyncpg

from rotor.cli import exits
from rotor.dev import bench
from tests.cli.terminal import rotor


async def test_it_measures_in_a_schema_of_its_own_and_leaves_none(dsn: str) -> None:
    outcome = rotor("bench", "--runs", "5", "--json", DATABASE_URL=dsn)

    assert outcome.code == 0, outcome.err
    assert outcome.json["steps_per_second"] > 0
    assert outcome.json["step_ms"] > 0
    assert outcome.json["first_line_ms"] > 0
    connection = await asyncpg.connect(dsn)
    left = await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rotor_scratch_%'")
    await connection.close()
    assert left == 0


def test_it_says_where_commits_do_not_wait_for_the_disk() -> None:
    assert bench.Durability("18.4", "on", "on").is_on
    assert not bench.Durability("18.4", "off", "on").is_on
    assert not bench.Durability("18.4", "on", "off").is_on


def test_a_wrong_result_is_no_figure_but_a_failure(dsn: str) -> None:
    with patch.object(bench, "sum_of", lambda steps: steps):
        outcome = rotor("bench", "--runs", "5", DATABASE_URL=dsn)

    assert outcome.code == exits.FAILED
    assert "is right" in outcome.err
    assert outcome.out == ""
