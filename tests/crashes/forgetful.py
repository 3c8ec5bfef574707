"""A worker that keeps the body of one parked run: `python -m tests.crashes.forgetful`."""

from __future__ import annotations

import asyncio
import logging

from rotor import connect
from tests.crashes.workflows import FUNCTIONS

if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    asyncio.run(connect(FUNCTIONS, parked_max=1).run())
