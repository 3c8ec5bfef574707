"""The development worker: loads an app, serves it, and reports to `rotor dev`, which starts it anew at each save.

Usage: python -m rotor.dev.worker APP URL SLOTS REPORT_FD
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from rotor.dev.reports import Connected, Failed, Found, Report, encode_report
from rotor.errors import RotorError
from rotor.sdk.loading import load_functions
from rotor.sdk.loop import run_loop
from rotor.sdk.worker import connect

GRACE_SECONDS = 2
"""How long steps in flight may still take at a reload; then they are given back and run again."""


def main(arguments: list[str]) -> int:
    app, url, slots, report_fd = arguments[0], arguments[1], int(arguments[2]), int(arguments[3])
    os.set_inheritable(report_fd, False)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("rotor.worker").setLevel(logging.WARNING)
    try:
        run_loop(serve(app, url, slots, report_fd))
    except RotorError as error:
        report(report_fd, Failed(str(error)))
        return 1
    return 0


async def serve(app: str, url: str, slots: int, report_fd: int) -> None:
    """Serve the functions of `app` until SIGTERM."""
    functions = load_functions(app)
    report(report_fd, Found([function.spec for function in functions]))
    worker = connect(functions, url=url, slots=slots, name="rotor dev", grace_seconds=GRACE_SECONDS)
    worker.on_connected = lambda: report(report_fd, Connected())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


def report(report_fd: int, what: Report) -> None:
    os.write(report_fd, encode_report(what))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
