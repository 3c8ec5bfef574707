"""A bench for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.crashes.bench import Bench


@pytest.fixture
async def bench(dsn: str, clean_schema: str, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(dsn, clean_schema, tmp_path)
    await bench.open()
    try:
        yield bench
    finally:
        await bench.close()
