"""Every statement has an index to go by, on a database that was empty when it was planned: such plans are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from rotor.store.database import Database

QUERIES = files("rotor.store").joinpath("queries")
LARGE = {"runs", "steps", "waits", "events", "event_values", "signals", "deliveries", "run_logs"}
SHORT = {"waits_unlooked", "runs_cancelling"}
"""Partial indexes of what is still to be done: to read one from its begin is the point of it."""
READS_ALL = {"check_invariants": "rotor doctor checks every run that has not ended"}


async def plan(database: Database, text: str) -> dict[str, Any]:
    """How a server's connection plans a statement, once and for any arguments."""
    places = max((int(place) for place in re.findall(r"\$(\d+)", text)), default=0)
    arguments = f"({', '.join(['NULL'] * places)})" if places else ""
    async with database.connection() as connection:
        await connection.raw.execute(f"PREPARE planned AS {text}")
        try:
            explained = await connection.raw.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE planned {arguments}")
        finally:
            await connection.raw.execute("DEALLOCATE planned")
    found: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return found


def whole_reads(node: dict[str, Any], *, bounded: bool = False) -> Iterator[str]:
    """Reads of a large table from end to end: no condition that its index serves, and no limit above."""
    scans = node["Node Type"] in ("Seq Scan", "Index Scan", "Index Only Scan") and node["Relation Name"] in LARGE
    if scans and not bounded and "Index Cond" not in node and node.get("Index Name") not in SHORT:
        yield f"{node['Node Type']} of {node['Relation Name']}, {node.get('Index Name', 'no index')}"
    for below in node.get("Plans", ()):
        yield from whole_reads(below, bounded=bounded or node["Node Type"] == "Limit")


async def test_no_statement_reads_a_large_table_from_end_to_end(fresh_database: Database) -> None:
    found = {
        entry.name.removesuffix(".sql"): list(
            whole_reads(await plan(fresh_database, entry.read_text(encoding="utf-8")))
        )
        for entry in QUERIES.iterdir()
    }

    assert {name: reads for name, reads in found.items() if reads and name not in READS_ALL} == {}


async def test_the_driver_knows_the_types_of_all_parameters_and_results(fresh_database: Database) -> None:
    """Of others it would ask Postgres first, on each connection. A value of a domain comes as what the domain is of."""
    async with fresh_database.connection() as connection:
        for entry in QUERIES.iterdir():
            text = entry.read_text(encoding="utf-8")
            await connection.raw.execute(f"PREPARE {entry.name.removesuffix('.sql')} AS {text}")
        try:
            others = await connection.raw.fetch(
                """
                SELECT name, typname FROM pg_prepared_statements,
                    LATERAL (SELECT unnest(parameter_types)::oid AS type, true AS given
                             UNION ALL SELECT unnest(result_types)::oid, false) AS used
                JOIN pg_type ON pg_type.oid = type
                WHERE typnamespace <> 'pg_catalog'::regnamespace AND (given OR typtype <> 'd')
                """
            )
        finally:
            await connection.raw.execute("DEALLOCATE ALL")

    assert others == []


def scanned(node: dict[str, Any]) -> Iterator[str]:
    """The common table expressions that are read row by row."""
    if node["Node Type"] == "CTE Scan":
        yield node["CTE Name"]
    for below in node.get("Plans", ()):
        yield from scanned(below)


async def test_the_doctor_finds_runs_by_their_keys(fresh_database: Database) -> None:
    """A list of runs has no index: joined to another large table it may be read once for each row of that one."""
    found = await plan(fresh_database, QUERIES.joinpath("check_invariants.sql").read_text(encoding="utf-8"))

    assert set(scanned(found)) == {"overdue"}


def compared(node: dict[str, Any]) -> Iterator[str]:
    """The conditions by which a join looks at each pair of rows."""
    yield from (node["Join Filter"],) if "Join Filter" in node else ()
    for below in node.get("Plans", ()):
        yield from compared(below)


async def test_results_that_come_from_many_holders_are_not_compared_with_each_of_these(
    fresh_database: Database,
) -> None:
    """Each invocation of a serve app is a holder with a lease of its own."""
    found = await plan(fresh_database, QUERIES.joinpath("put_progress.sql").read_text(encoding="utf-8"))

    assert list(compared(found)) == []


def indexes(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The indexes of large tables that are read, each with the condition it is read by."""
    if node.get("Relation Name") in LARGE and "Index Name" in node:
        yield node["Index Name"], node.get("Index Cond", "")
    for below in node.get("Plans", ()):
        yield from indexes(below)


async def test_a_statement_goes_by_the_indexes_that_it_names(fresh_database: Database) -> None:
    named = {
        entry.name: set(re.findall(r"\w+", said[1]))
        for entry in QUERIES.iterdir()
        if (said := re.search(r"^-- .*\bIndex: ([^.]+)\.", entry.read_text(encoding="utf-8"), re.MULTILINE))
    }
    assert named
    used = {
        name: {index for index, _ in indexes(await plan(fresh_database, QUERIES.joinpath(name).read_text("utf-8")))}
        for name in named
    }

    assert {name: used[name] - named[name] for name in named if used[name] - named[name]} == {}


async def test_an_index_is_read_by_its_first_column(fresh_database: Database) -> None:
    rows = await fresh_database.pool.fetch(
        """
        SELECT indexrelid::regclass::text AS name, attname FROM pg_index
        JOIN pg_attribute ON attrelid = indexrelid AND attnum = 1
        WHERE indrelid::regclass::text = ANY ($1)
        """,
        list(LARGE),
    )
    first = {row["name"]: row["attname"] for row in rows}
    skipped = {
        entry.name: name
        for entry in QUERIES.iterdir()
        for name, condition in indexes(await plan(fresh_database, entry.read_text(encoding="utf-8")))
        if condition and not re.search(rf"\b{first[name]}\b", condition)
    }

    assert skipped == {}


async def test_a_join_that_could_be_planned_as_a_scan_is_found_out(fresh_database: Database) -> None:
    joined = """
        SELECT steps.run_id, steps.event_id FROM steps
        JOIN unnest($1::uuid[], $2::text[]) AS wanted (run_id, event_id) USING (run_id, event_id)
        WHERE steps.op = 'wait_for_event'
    """

    assert list(whole_reads(await plan(fresh_database, joined))) == ["Index Only Scan of steps, steps_taken"]


def in_place_of_the_key(node: dict[str, Any]) -> Iterator[str]:
    """Reads of all that a workspace has, to find one row by its id."""
    if node.get("Index Cond") == "(workspace_id = $1)" and "(id = " in node.get("Filter", ""):
        yield node["Index Name"]
    for below in node.get("Plans", ()):
        yield from in_place_of_the_key(below)


async def test_one_row_is_found_by_its_key_and_not_among_all_of_its_workspace(fresh_database: Database) -> None:
    found = {
        entry.name: list(in_place_of_the_key(await plan(fresh_database, entry.read_text(encoding="utf-8"))))
        for entry in QUERIES.iterdir()
    }

    assert {name: indexes for name, indexes in found.items() if indexes} == {}
