"""Ask all questions, or the named ones: `python -m benchmarks [NAME...] [--json FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import pkgutil
import sys
import tempfile
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import msgspec

from benchmarks import questions
from benchmarks.harness.database import check_durable, postgres_in
from benchmarks.harness.figures import Figure, WrongError
from benchmarks.harness.floor import measure_floor
from benchmarks.harness.pace import measure_pace
from benchmarks.harness.report import Answer, Report, print_report
from benchmarks.harness.stage import Stage
from benchmarks.harness.usage import busy_share, machine_ticks

NAMES = sorted(module.name for module in pkgutil.iter_modules(questions.__path__))
NAMED_ONLY = {"peers"}
"""Asked only where they are named: they install packages."""
FLOOR_SECONDS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    parser.add_argument("--no-floor", action="store_true", help="leave the floor out, and with it the ratios to it")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: a look, no figures to compare")
    parser.add_argument("--minutes", type=float, default=1, help="how long the question about endurance takes")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no question is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    report = asyncio.run(ask_all(options))
    print_report(report)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return 1 if any(answer.wrong for answer in report.answers) else 0


async def ask_all(options: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory(prefix="rotor-benchmarks-") as folder, postgres_in(Path(folder)) as postgres:
        await check_durable(postgres.dsn)
        floor = await measure_floor(postgres, Path(folder), seconds=FLOOR_SECONDS) if not options.no_floor else []
        stages = {
            name: Stage(postgres, Path(folder), quick=options.quick, minutes=options.minutes)
            for name in options.names or [name for name in NAMES if name not in NAMED_ONLY]
        }
        answers = [await ask(name, stage) for name, stage in stages.items()]
    return Report(quick=options.quick, at=datetime.now(UTC), floor=floor, answers=answers)


async def ask(name: str, stage: Stage) -> Answer:
    """One question on a stage of its own. What was wrong is reported, and no figure of it counts."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    figures, wrong, pace_before = list[Figure](), "", await measure_pace()
    before = machine_ticks()
    try:
        async with stage:
            figures = await import_module(f"benchmarks.questions.{name}").ask(stage)
    except WrongError as error:
        wrong = str(error)
    return Answer(
        name=name,
        figures=figures,
        wrong=wrong,
        machine_busy=busy_share(before, machine_ticks()),
        pace_before=pace_before,
        pace_after=await measure_pace(),
    )


if __name__ == "__main__":
    sys.exit(main())
