"""What a run logs is shown with it, in its order and each line once, over both transports."""

from __future__ import annotations

from typing import Any

from tests.conformance.service import Service


async def log_of(service: Service, run_id: str, count: int) -> list[dict[str, Any]]:
    """The log once it has `count` lines: they are written beside the steps, at their own pace."""
    while True:
        found = (await service.request("GET", f"/v1/runs/{run_id}/logs")).json
        assert found["next_cursor"] is None
        if len(found["items"]) >= count:
            return list(found["items"])


async def test_what_a_run_logs_is_shown_with_it(service: Service, key: str) -> None:
    run = await service.run("logs.lines", key=key)
    assert run.status == "completed"
    lines = await log_of(service, run.id, 5)
    assert [(line["level"], line["message"], line["step_id"], line["step_index"]) for line in lines] == [
        ("info", "begins", None, None),
        ("warning", "in a step", "work", 0),
        ("warning", "in a thread", "work", 1),
        ("info", "after a sleep", None, None),
        ("error", "ends\nin two lines", None, None),
    ]
    assert [line["number"] for line in lines] == [0, 1, 2, 3, 4]
    assert [line["missed"] for line in lines] == [0] * 5


async def test_a_run_that_logs_nothing_has_an_empty_log(service: Service, key: str) -> None:
    run = await service.run("steps.bodies", key=key)
    assert await log_of(service, run.id, 0) == []


async def test_the_log_of_an_unknown_run_is_not_there(service: Service) -> None:
    assert (await service.request("GET", "/v1/runs/00000000-0000-4000-8000-000000000000/logs")).status == 404
    assert (await service.request("GET", "/v1/runs/00000000-0000-4000-8000-000000000000/logs?limit=0")).status == 422
