"""`rotor server` and `rotor worker` as they run in production: with a key, and stopped by SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from rotor.cli import exits
from rotor.store.database import Database
from tests.cli.terminal import rotor
from tests.dev.processes import eventually, free_port

APP = """
from rotor import Context, create_function

@create_function(id="greet", trigger={"event": "greeting.asked"})
async def greet(ctx: Context) -> str:
    return "hello"
"""


@contextmanager
def running(*arguments: str, cwd: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-u", "-m", "rotor.cli", *arguments]
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def metrics(url: str) -> dict[tuple[str, str], float]:
    """The samples of a server by their name and the value of their first label."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples]
    return {(sample.name, next(iter(sample.labels.values()), "")): sample.value for sample in samples}


async def test_a_server_asks_for_a_key_and_a_worker_with_one_serves_through_it(
    dsn: str, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "flows.py").write_text(APP)
    port = free_port()
    on_database = {"DATABASE_URL": dsn, "ROTOR_SCHEMA": database.schema}
    as_client = {"ROTOR_URL": f"http://127.0.0.1:{port}"}
    with running("server", "--port", str(port), cwd=tmp_path, **on_database) as server:
        assert eventually(lambda: rotor("runs", "list", **as_client).code == exits.REFUSED)
        assert "ROTOR_API_KEY" in rotor("runs", "list", **as_client).err

        key = rotor("keys", "create", "--json", **on_database).json["key"]
        with_key = {**as_client, "ROTOR_API_KEY": key}
        with running("worker", "flows.py", cwd=tmp_path, **with_key) as worker:

            def greeted() -> bool:
                event = rotor("send", "greeting.asked", "--json", **with_key).json["id"]
                runs = rotor("runs", "list", "--event", event, "--json", **with_key).json["items"]
                return bool(runs)

            assert eventually(greeted)
            run_id = rotor("runs", "list", "--json", **with_key).json["items"][-1]["id"]
            assert rotor("runs", "watch", run_id, **with_key).code == 0
            counted = metrics(as_client["ROTOR_URL"])
            assert counted["rotor_runs_ended_total", "completed"] >= 1
            assert counted["rotor_events_accepted_total", ""] >= 1
            assert counted["rotor_workers_connected", ""] == 1
            assert counted["rotor_commit_duration_seconds_count", "run commits"] >= 1
            assert counted["rotor_queued_writes", "event intake"] == 0
            code, said = stopped(worker)
            assert code == 0
            assert "greet  event greeting.asked" in said
        code, said = stopped(server)
    assert code == 0
    assert "Traceback" not in said
