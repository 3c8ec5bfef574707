"""`rotor migrate` and `rotor keys` on a database of their own."""

from __future__ import annotations

import asyncpg

from rotor.cli import exits
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.sessions import Sessions
from rotor.store.signing_keys import SigningKeys
from tests.cli.terminal import Outcome, rotor


async def test_migrate_says_what_is_missing_and_applies_it_once(dsn: str, clean_schema: str) -> None:
    def run(*arguments: str) -> Outcome:
        return rotor(*arguments, DATABASE_URL=dsn, ROTOR_SCHEMA=clean_schema)

    unmigrated = run("keys", "create")
    assert unmigrated.code == exits.USAGE
    assert "run `rotor migrate` first" in unmigrated.err
    missing = run("migrate", "--dry-run", "--json").json["pending"]
    assert missing[0] == "0001_initial"
    assert run("migrate", "--json").json["applied"] == missing
    assert run("migrate", "--json").json["applied"] == []


async def test_a_key_is_made_listed_without_its_secret_and_revoked(dsn: str, database: Database) -> None:
    def run(*arguments: str) -> Outcome:
        return rotor(*arguments, DATABASE_URL=dsn, ROTOR_SCHEMA=database.schema)

    created = run("keys", "create", "--name", "billing", "--workspace", "acme", "--json").json
    assert set(created) == {"key", "signing_key", "workspace"}
    assert created["workspace"] == "acme"
    assert await Keys(database).authenticate(created["key"]) is not None

    listed = run("keys", "list", "--workspace", "acme", "--json")
    (key,) = listed.json["items"]
    assert (key["name"], key["workspace"]) == ("billing", "acme")
    assert created["key"] not in listed.out
    assert created["key"] not in run("keys", "list").out

    assert run("keys", "revoke", key["id"]).code == 0
    assert await Keys(database).authenticate(created["key"]) is None
    unknown = run("keys", "revoke", "01890a5d-ac96-774b-bcce-b302099a8057")
    assert unknown.code == exits.NOT_FOUND


async def test_a_key_is_made_for_a_purpose_and_a_time(dsn: str, database: Database) -> None:
    def run(*arguments: str) -> Outcome:
        return rotor(*arguments, DATABASE_URL=dsn, ROTOR_SCHEMA=database.schema)

    assert run("keys", "create", "--json").code == 0
    assert run("keys", "create", "--scope", "read", "--scope", "send", "--expires-in", "90d").code == 0

    limited, unlimited = run("keys", "list", "--json").json["items"]
    assert (unlimited["scopes"], unlimited["expires_at"]) == (["admin"], None)
    assert limited["scopes"] == ["send", "read"]
    assert limited["expires_at"] > limited["created_at"]
    assert "send read" in run("keys", "list").out
    for wrong in (["--scope", "root"], ["--expires-in", "soon"], ["--expires-in", "0s"]):
        refused = run("keys", "create", *wrong)
        assert refused.code == exits.USAGE
        assert refused.err
    assert len(run("keys", "list", "--json").json["items"]) == 2


async def test_the_signing_key_is_rotated_and_the_one_before_stays(dsn: str, database: Database) -> None:
    def run(*arguments: str) -> Outcome:
        return rotor(*arguments, DATABASE_URL=dsn, ROTOR_SCHEMA=database.schema)

    first = run("keys", "create", "--json").json["signing_key"]
    second = run("keys", "rotate", "--json").json["signing_key"]
    assert await SigningKeys(database).of(1) == [second, first]
    assert "ROTOR_SIGNING_KEY=whsec_" in run("keys", "rotate").out
    assert first not in await SigningKeys(database).of(1)
    assert run("keys", "rotate", "--workspace", "nowhere").code == exits.NOT_FOUND


async def test_a_login_link_is_printed_with_where_people_reach_the_server(dsn: str, database: Database) -> None:
    def run(*arguments: str) -> Outcome:
        public = "https://rotor.example.com/"
        return rotor(*arguments, DATABASE_URL=dsn, ROTOR_SCHEMA=database.schema, ROTOR_PUBLIC_URL=public)

    made = run("keys", "login-link", "--name", "ada", "--scope", "read", "--json").json
    assert made["url"].startswith("https://rotor.example.com/dashboard/link/login_")
    token = made["url"].rpartition("/")[2]
    assert await Sessions(database).begin_by_link(token) is not None
    assert "https://rotor.example.com/dashboard/link/" in run("keys", "login-link").out
    assert run("keys", "login-link", "--workspace", "nowhere").code == exits.NOT_FOUND
    for wrong in (["--scope", "send"], ["--expires-in", "soon"]):
        refused = run("keys", "login-link", *wrong)
        assert refused.code == exits.USAGE
        assert "no link was made" in refused.err


async def test_workspaces_are_made_and_listed(dsn: str, database: Database) -> None:
    def run(*arguments: str) -> Outcome:
        return rotor(*arguments, DATABASE_URL=dsn, ROTOR_SCHEMA=database.schema)

    assert run("workspaces", "create", "staging", "--json").json == {"workspace": "staging", "created": True}
    assert run("workspaces", "create", "staging", "--json").json["created"] is False
    run("keys", "create", "--workspace", "staging")

    listed = run("workspaces", "list", "--json").json["items"]
    assert [(one["name"], one["keys"], one["functions"]) for one in listed] == [("default", 0, 0), ("staging", 1, 0)]
    assert "staging" in run("workspaces", "list").out
    assert run("workspaces", "create", "w" * 300).code == exits.USAGE


async def test_a_database_that_is_not_there_is_named(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.close()
    outcome = rotor("migrate", DATABASE_URL=dsn.replace("/postgres?", "/no_such_database?"))
    assert outcome.code == exits.USAGE
    assert "no_such_database" in outcome.err


def test_an_impossible_name_is_refused_with_the_reason(dsn: str, database: Database) -> None:
    outcome = rotor("keys", "create", "--workspace", "w" * 300, DATABASE_URL=dsn, ROTOR_SCHEMA=database.schema)
    assert outcome.code == exits.USAGE
    assert "workspace" in outcome.err
