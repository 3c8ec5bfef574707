"""The embedded Postgres: it starts anywhere, keeps its data, lets nobody else in and outlives nobody."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from rotor.dev.postgres import Postgres
from rotor.errors import ConfigError
from tests.dev.processes import NOBODY, as_ordinary_user, eventually, lives, offspring, python, spawn

OWNER = """
import sys, time
from pathlib import Path
from rotor.dev.postgres import Postgres
postgres = Postgres(Path(sys.argv[1]))
postgres.start()
print(postgres.process.process_id)
time.sleep(600)
"""


def process_id_of(server: Postgres) -> int:
    assert server.process is not None
    assert server.process.process_id is not None
    return server.process.process_id


def first_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline()


@pytest.fixture
def postgres(data_folder: Path) -> Iterator[Postgres]:
    server = Postgres(data_folder)
    server.start()
    yield server
    server.stop()


async def execute(server: Postgres, statement: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def kill(process_id: int) -> None:
    os.kill(process_id, signal.SIGKILL)


async def test_it_listens_on_a_private_socket_only_and_writes_durably(postgres: Postgres) -> None:
    assert await execute(postgres, "SHOW listen_addresses") == ""
    assert await execute(postgres, "SHOW fsync") == "on"
    assert await execute(postgres, "SHOW synchronous_commit") == "on"
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700


async def test_a_restart_keeps_what_was_written(postgres: Postgres) -> None:
    await execute(postgres, "CREATE TABLE kept AS SELECT 7 AS value")
    postgres.stop()
    postgres.start()
    assert await execute(postgres, "SELECT value FROM kept") == 7


async def test_a_crash_of_the_server_keeps_what_was_written(postgres: Postgres) -> None:
    await execute(postgres, "CREATE TABLE kept AS SELECT 7 AS value")
    kill(process_id_of(postgres))
    assert postgres.process is not None
    assert postgres.process.wait() == 128 + signal.SIGKILL
    postgres.stop()
    postgres.start()
    assert await execute(postgres, "SELECT value FROM kept") == 7


async def test_a_stale_process_file_that_names_another_program_is_no_hindrance(postgres: Postgres) -> None:
    kill(process_id_of(postgres))
    postgres.stop()
    sleeper = spawn(["sleep", "600"])
    try:
        stale = postgres.data / "postmaster.pid"
        lines = stale.read_text().splitlines()
        stale.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n")
        postgres.start()
        assert await execute(postgres, "SELECT 1") == 1
    finally:
        sleeper.kill()
        sleeper.communicate()


def test_the_folder_of_a_living_owner_is_refused(data_folder: Path) -> None:
    owner = spawn(python(OWNER, str(data_folder)))
    try:
        assert first_line(owner)
        with pytest.raises(ConfigError, match=f"in use by process {owner.pid}"):
            Postgres(data_folder).start()
    finally:
        owner.kill()
        owner.communicate()


def give_to_nobody(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)


@pytest.mark.parametrize("whom", [list, as_ordinary_user], ids=["as this user", "as an ordinary user"])
async def test_nothing_outlives_a_killed_owner_and_the_next_one_goes_on(
    data_folder: Path, whom: Callable[[Sequence[str]], list[str]]
) -> None:
    if whom is as_ordinary_user and os.geteuid() == 0:
        give_to_nobody(data_folder)
    owner = spawn(whom(python(OWNER, str(data_folder))))
    server = int(first_line(owner))
    everything = offspring(owner.pid)
    assert server in everything
    kill(owner.pid)
    owner.communicate()
    next_owner = Postgres(data_folder)
    next_owner.start()
    try:
        assert not any(lives(process_id) for process_id in everything)
        assert await execute(next_owner, "SELECT 1") == 1
    finally:
        next_owner.stop()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the kernel's help is Linux's")
def test_the_server_does_not_outlive_its_keeper_either(data_folder: Path) -> None:
    owner = spawn(python(OWNER, str(data_folder)))
    try:
        server = int(first_line(owner))
        keeper = next(process_id for process_id in offspring(owner.pid) if server in offspring(process_id))
        kill(keeper)
        assert eventually(lambda: not lives(server))
    finally:
        owner.kill()
        owner.communicate()


async def test_a_path_too_long_for_a_socket_is_reached_by_a_short_link(tmp_path: Path) -> None:
    server = Postgres(tmp_path / ("long " * 30).strip())
    server.start()
    try:
        assert str(server.data) not in server.dsn
        assert await execute(server, "SELECT 1") == 1
    finally:
        server.stop()
    assert not server._short_link.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves its account")
def test_root_runs_it_as_an_ordinary_account_below_a_private_folder(data_folder: Path) -> None:
    data_folder.parent.chmod(0o700)
    server = Postgres(data_folder)
    server.start()
    try:
        assert Path(f"/proc/{process_id_of(server)}").stat().st_uid == server.data.stat().st_uid != 0
    finally:
        server.stop()


def test_a_server_that_cannot_start_says_why(data_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"did not start(.|\n)*no_such_setting"):
        Postgres(data_folder, settings={"no_such_setting": "1"}).start()
