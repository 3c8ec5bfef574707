"""The pace of the machine: how long the same piece of Python takes at the moment, on every core at once.

Virtual cores share theirs with strangers: within seconds the same work may take twice as long. The floor has the part
of the disk; this is the rest, taken beside each question.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from benchmarks.harness.figures import percentile

__all__ = ["measure_pace"]

LOOP = """
import json, time
def loop():
    began = time.perf_counter()
    for number in range(100_000):
        number * number
    return (time.perf_counter() - began) * 1_000
print(json.dumps([loop() for _ in range(50)]))
"""


async def measure_pace() -> dict[str, float]:
    """Milliseconds that a loop of 100,000 multiplications takes: percentiles of 50 on each core."""
    times = [time for core in await asyncio.gather(*[_loops() for _ in range(os.cpu_count() or 1)]) for time in core]
    return {f"p{round(share * 100)}": round(percentile(times, share), 2) for share in (0.1, 0.5, 0.9)}


async def _loops() -> list[float]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LOOP, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    times: list[float] = json.loads(said)
    return times
