"""Code changes under runs in flight, with workers and apps of the old and of the new code as real processes."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.crashes.bench import Bench, Program, until
from tests.dev.processes import free_port

OLD = """
from rotor import Context, create_function

def say(text: str) -> str:
    return text

@create_function(id="onboarding", trigger={"event": "joined"})
async def onboarding(ctx: Context) -> list[str]:
    said = [await ctx.step.run("look-up", say, "old look-up"), await ctx.step.run("greet", say, "old greeting")]
    await ctx.step.wait_for_signal("gate", signal=f"gate-{ctx.run_id}", timeout="1h")
    return [*said, await ctx.step.run("tips", say, "old tips")]
"""
NEW = """
from rotor import Context, create_function

def say(text: str) -> str:
    return text

@create_function(id="onboarding", trigger={"event": "joined"})
async def onboarding(ctx: Context) -> list[str]:
    said = [await ctx.step.run("greet", say, "new greeting"), await ctx.step.run("check", say, "new check")]
    await ctx.step.wait_for_signal("gate", signal=f"gate-{ctx.run_id}", timeout="1h")
    return [*said, await ctx.step.run("advice", say, "new advice"), await ctx.step.run("tips", say, "new tips")]
"""
MISMATCHED = """
from rotor import Context, create_function

@create_function(id="onboarding", trigger={"event": "joined"})
async def onboarding(ctx: Context) -> None:
    await ctx.step.sleep("gate", "1s")
"""
SERVED = """
from starlette.applications import Starlette
from rotor import serve_workflow

app = serve_workflow(Starlette(), functions=[onboarding])
"""
OLD_END = ["old look-up", "old greeting", "old tips"]
NEW_END = ["old greeting", "new check", "new advice", "new tips"]
"""With `look-up` removed and left on record, `greet` first and answered from it, `check` and `advice` added."""


async def worker(bench: Bench, folder: Path, version: str, code: str) -> Program:
    file = folder / f"onboarding_{version}.py"
    file.write_text(code, encoding="utf-8")
    return await bench.program("rotor.cli", "worker", str(file), ROTOR_VERSION=version).says("connected to")


async def app(bench: Bench, folder: Path, version: str, code: str, port: int) -> Program:
    """The same code as a web app, registered with the server."""
    (folder / f"served_{version}.py").write_text(code + SERVED, encoding="utf-8")
    served = bench.program(
        "uvicorn", f"served_{version}:app", "--app-dir", str(folder), "--port", str(port), ROTOR_VERSION=version
    )
    await served.says("Application startup complete")
    await bench.sync(port)
    return served


async def parked(bench: Bench, runs: int) -> list[str]:
    """As many runs, each of which waits at its gate."""
    rotor = bench.client()
    ids = [await rotor.send("joined", {}) for _ in range(runs)]

    async def waiting() -> bool:
        return (await bench.statuses()).get("waiting", 0) == runs

    await until(waiting)
    return [(await bench.run_of(event_id)).id for event_id in ids]


async def test_workers_of_old_and_of_new_code_go_on_with_the_same_runs(bench: Bench, tmp_path: Path) -> None:
    await bench.server()
    old = await worker(bench, tmp_path, "old", OLD)
    runs = await parked(bench, 8)
    new = await worker(bench, tmp_path, "new", NEW)
    rotor = bench.client()
    for run_id in runs[:4]:
        await rotor.complete_signal(f"gate-{run_id}", {})
    ended = [await rotor.runs.wait(run_id, timeout=60) for run_id in runs[:4]]
    old.signal(signal.SIGTERM)
    await old.ended()
    for run_id in runs[4:]:
        await rotor.complete_signal(f"gate-{run_id}", {})
    later = [await rotor.runs.wait(run_id, timeout=60) for run_id in runs[4:]]

    assert all(run.output in (OLD_END, NEW_END) for run in ended)
    assert [run.output for run in later] == [NEW_END] * 4
    for run in (*ended, *later):
        versions = {step.id: step.version for step in (await rotor.runs.get(run.id)).steps}
        code = "old" if run.output == OLD_END else "new"
        assert versions["look-up"] == versions["greet"] == versions["gate"] == "old"
        assert versions["tips"] == code
        assert versions.get("advice", code) == code
    assert await bench.findings() == []
    new.kill()


async def test_an_app_of_new_code_takes_over_the_runs_of_the_old_one_and_what_came_in_between(
    bench: Bench, tmp_path: Path
) -> None:
    port = free_port()
    await bench.server()
    old = await app(bench, tmp_path, "old", OLD, port)
    runs = await parked(bench, 6)
    rotor = bench.client()
    for run_id in runs[:2]:
        await rotor.complete_signal(f"gate-{run_id}", {})
    ended = [await rotor.runs.wait(run_id, timeout=60) for run_id in runs[:2]]
    old.signal(signal.SIGTERM)
    await old.ended()
    for run_id in runs[2:4]:
        await rotor.complete_signal(f"gate-{run_id}", {})
    await app(bench, tmp_path, "new", NEW, port)
    for run_id in runs[4:]:
        await rotor.complete_signal(f"gate-{run_id}", {})
    later = [await rotor.runs.wait(run_id, timeout=60) for run_id in runs[2:]]

    assert [run.output for run in ended] == [OLD_END] * 2
    assert [run.output for run in later] == [NEW_END] * 4
    for run in later[2:]:  # after the new code was registered
        versions = {step.id: step.version for step in (await rotor.runs.get(run.id)).steps}
        assert versions == {
            **dict.fromkeys(["look-up", "greet", "gate"], "old"),
            **dict.fromkeys(["check", "advice", "tips"], "new"),
        }
    assert await bench.findings() == []


async def test_an_id_that_is_something_else_now_fails_the_run_and_names_both(bench: Bench, tmp_path: Path) -> None:
    await bench.server()
    old = await worker(bench, tmp_path, "old", OLD)
    (run_id,) = await parked(bench, 1)
    old.signal(signal.SIGTERM)
    await old.ended()
    await worker(bench, tmp_path, "wrong", MISMATCHED)
    rotor = bench.client()
    await rotor.complete_signal(f"gate-{run_id}", {})
    ended = await rotor.runs.wait(run_id, timeout=60)

    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error.name == "StepMismatchError"
    for word in ("'gate'", "wait_for_signal", "sleep"):
        assert word in ended.error.message
