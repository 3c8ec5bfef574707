"""Simulates for as long as asked: `python -m tests.simulation --seconds 600 --seed 1`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from multiprocessing import Pool

from tests.simulation import sdk
from tests.simulation.campaign import Totals, run_case, run_seeds
from tests.simulation.oracle import ViolationError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="the first of the seeds")
    parser.add_argument("--count", type=int, help="how many programs, at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes share the seeds")
    parser.add_argument("--sdk", action="store_true", help="let the real SDK hold the runs of workers")
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    began = time.monotonic()
    jobs = options.jobs if options.count is None else min(options.jobs, options.count)
    share = partial(run_share, options, jobs)
    with Pool(jobs) as pool:  # whose end is the end of its processes
        try:
            totals = sum(pool.imap_unordered(share, range(jobs)), Totals())
        except ViolationError as violation:
            sys.stdout.write(f"{violation}\n")
            return 1
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{totals.programs:,} programs, {totals.runs:,} runs ({totals.runs / seconds:,.0f} a second), "
        f"{totals.arrivals:,} messages, events and timers ({totals.arrivals / seconds:,.0f} a second) in "
        f"{totals.commits:,} commits, {totals.faults:,} faults injected, {totals.executions:,} bodies of steps, "
        f"{totals.repeated:,} of them again after a fault, 0 violations\n"
    )
    return 0


def run_share(options: argparse.Namespace, jobs: int, number: int) -> Totals:
    """What one of the processes does: each has every so many of the seeds."""
    count = None if options.count is None else options.count - number
    run = sdk.run_case if options.sdk else run_case
    return run_seeds(options.seed + number, count=count, seconds=options.seconds, run=run, every=jobs)


if __name__ == "__main__":
    sys.exit(main())
