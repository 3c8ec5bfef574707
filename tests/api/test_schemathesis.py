"""Whatever the OpenAPI document allows, and more, is answered as it says, and never by a failure of the server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from rotor.server.server import Server, ServerConfig
from rotor.store.keys import Keys
from rotor.store.migrate import migrate
from tests.dev.processes import free_port

EXAMPLES = 20
"""For each operation."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "ignored_auth",
)


@pytest.mark.timeout(240)
async def test_the_api_is_what_its_document_says(dsn: str, clean_schema: str, tmp_path: Path) -> None:
    await migrate(dsn, schema=clean_schema)
    server = Server(ServerConfig(database_url=dsn, schema=clean_schema, port=free_port()))
    await server.start()
    try:
        key = (await Keys(server.store.database).create()).key
        arguments = [
            f"{server.config.url}/openapi.json",
            f"--header=Authorization: Bearer {key}",
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={EXAMPLES}",
            "--phases=coverage,fuzzing",
            "--seed=1",
            "--warnings=off",
            "--continue-on-failure",
            "--request-timeout=20",
            "--generation-database=:memory:",
            "--no-color",
        ]
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            *arguments,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    finally:
        await server.stop()
    assert process.returncode == 0, output.decode().replace(key, "KEY")
