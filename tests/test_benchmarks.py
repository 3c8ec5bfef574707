"""The benchmarks run, and their checks can fail: what is wrong is no figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arithmetic import after
from benchmarks.harness import programs
from benchmarks.harness.checks import Ended, check_chain
from benchmarks.harness.database import check_durable
from benchmarks.harness.figures import WrongError

ROOT = Path(__file__).parent.parent
FIRST, SECOND = after(5, 0), after(after(5, 0), 1)


def run(output: int = SECOND, committed: float = 30.0) -> Ended:
    return Ended("run", {"n": 5, "steps": 2}, output, committed)


def steps(*recorded: tuple[int, float, float]) -> Mapping[str, Mapping[str, Any]]:
    """Of each step its value, when it began and when it was committed."""
    return {
        f"step-{k}": {"status": "completed", "output": json.dumps([value, began]), "committed": committed}
        for k, (value, began, committed) in enumerate(recorded)
    }


def test_a_benchmark_measures_a_real_server_and_worker(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks", "first_line", "--quick", "--no-floor", "--json", str(report)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})

    (answer,) = json.loads(report.read_bytes())["answers"]
    assert answer["wrong"] == ""
    assert [figure["unit"] for figure in answer["figures"]] == ["ms", "ms"]
    assert all(figure["value"] > 0 for figure in answer["figures"])
    assert all(0 < pace["p10"] <= pace["p50"] <= pace["p90"] for pace in (answer["pace_before"], answer["pace_after"]))


async def test_what_is_not_durable_is_not_measured(dsn: str) -> None:
    with pytest.raises(WrongError, match=r"fsync|synchronous_commit"):
        await check_durable(f"{dsn}{'&' if '?' in dsn else '?'}synchronous_commit=off")


async def test_what_does_not_end_leaves_its_question_without_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "END_SECONDS", 0.1)
    program = programs.Program(
        "peer", [sys.executable, "-c", "import time; time.sleep(60)"], os.environ, tmp_path / "log"
    )
    with pytest.raises(WrongError, match="peer has not ended"):
        await program.ends()
    await program.stop()


def test_a_chain_that_is_right_has_the_times_of_its_steps() -> None:
    assert check_chain(run(), steps((FIRST, 1.0, 2.0), (SECOND, 3.0, 4.0))) == [(1.0, 2.0), (3.0, 4.0)]


@pytest.mark.parametrize(
    ("ended", "recorded", "complaint"),
    [
        (run(), steps((FIRST, 1.0, 2.0)), "without its step 1"),
        (run(), steps((FIRST, 1.0, 2.0), (SECOND + 1, 3.0, 4.0)), "step 1 of run run returned"),
        (run(), steps((FIRST, 1.0, 3.5), (SECOND, 3.0, 4.0)), "before the step before it was committed"),
        (run(output=0), steps((FIRST, 1.0, 2.0), (SECOND, 3.0, 4.0)), "run run returned 0"),
        (run(committed=3.5), steps((FIRST, 1.0, 2.0), (SECOND, 3.0, 4.0)), "before its last step was committed"),
    ],
)
def test_a_chain_that_is_not_right_is_no_figure(
    ended: Ended, recorded: Mapping[str, Mapping[str, Any]], complaint: str
) -> None:
    with pytest.raises(WrongError, match=complaint):
        check_chain(ended, recorded)
