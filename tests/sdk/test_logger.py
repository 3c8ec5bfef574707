"""The lines of a run's logger travel to the server, each once, whatever they hold and wherever they are written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from rotor import Context, SyncContext, limits
from rotor.protocol.messages import LogLine
from tests.sdk.fake_server import FakeServer
from tests.sdk.test_session_replay import workflow


def said(server: FakeServer) -> list[LogLine]:
    return [message for frame in server.frames for message in frame if isinstance(message, LogLine)]


def texts(server: FakeServer) -> list[str]:
    return [line.message for line in said(server)]


async def test_a_line_is_sent_once_however_often_the_body_is_replayed() -> None:
    async def body(ctx: Context[Any]) -> None:
        ctx.logger.info("start")
        await ctx.step.run("a", int, 1)
        ctx.logger.warning("between %d and %s", 1, "two")
        await ctx.step.sleep("nap", "1h")
        ctx.logger.info("end")

    server = FakeServer(workflow(body))
    await server.run()
    server.settle("nap")
    await server.lose()
    await server.run()
    assert [(line.number, line.level, line.message) for line in said(server)] == [
        (1, "info", "start"),
        (2, "warning", "between 1 and two"),
        (1, "info", "end"),
    ]
    assert server.status == "completed"


async def test_a_line_of_a_step_s_body_names_the_step_in_a_thread_too() -> None:
    async def body(ctx: Context[Any]) -> None:
        async def here() -> None:
            ctx.logger.info("on the loop")

        await ctx.step.run("a", here)
        await ctx.step.run("a", lambda: ctx.logger.error("in a thread"))
        ctx.logger.info("between steps")

    server = FakeServer(workflow(body))
    await server.run()
    assert [(line.message, line.step_id, line.step_index) for line in said(server)] == [
        ("on the loop", "a", 0),
        ("in a thread", "a", 1),
        ("between steps", None, 0),
    ]


async def test_a_plain_handler_logs_from_its_thread() -> None:
    def body(ctx: SyncContext[Any]) -> None:
        ctx.logger.info("before")
        ctx.step.run("a", lambda: ctx.logger.info("within"))
        ctx.logger.info("after")

    server = FakeServer(workflow(body))
    await server.run()
    assert [(line.message, line.step_id) for line in said(server)] == [
        ("before", None),
        ("within", "a"),
        ("after", None),
    ]


class Broken:
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("log", "level", "text"),
    [
        (lambda logger: logger.info("%d", "x"), "info", "'%d' cannot be formatted with its arguments: TypeError"),
        (lambda logger: logger.critical("%s", Broken()), "critical", "'%s' cannot be formatted"),
        (lambda logger: logger.info("\ud800"), "info", "?"),
        (lambda logger: logger.log(35, {"a": 1}), "warning", "{'a': 1}"),
        (lambda logger: logger.info("x" * 5_000), "info", "x" * (limits.LOG_LINE_CHARACTERS - 1) + "…"),
    ],
)
async def test_whatever_is_logged_a_line_arrives_and_the_run_goes_on(
    log: Callable[[Any], None], level: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("rotor.run"), "disabled", True)  # pytest's own handler would raise

    async def body(ctx: Context[Any]) -> None:
        log(ctx.logger)

    server = FakeServer(workflow(body))
    await server.run()
    (line,) = said(server)
    assert line.level == level
    assert line.message.startswith(text)
    assert server.status == "completed"


async def test_an_exception_brings_its_traceback() -> None:
    async def body(ctx: Context[Any]) -> None:
        try:
            int("x")
        except ValueError as error:
            ctx.logger.exception("no number")
            ctx.logger.warning("again", exc_info=error)

    server = FakeServer(workflow(body))
    await server.run()
    for text in texts(server):
        assert "Traceback" in text
        assert text.endswith("ValueError: invalid literal for int() with base 10: 'x'")


async def test_debug_is_for_those_who_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    async def body(ctx: Context[Any]) -> None:
        seen.append(ctx.logger.isEnabledFor(logging.DEBUG))
        ctx.logger.debug("detail")
        ctx.logger.info("told")

    async def shown() -> list[str]:
        server = FakeServer(workflow(body))
        await server.run()
        return texts(server)

    assert await shown() == ["told"]
    monkeypatch.setattr(logging.getLogger("rotor.run"), "level", logging.DEBUG)
    assert await shown() == ["detail", "told"]
    monkeypatch.setattr(logging.getLogger("rotor.run"), "level", logging.ERROR)
    assert await shown() == []
    assert seen[1] is True


async def test_a_run_that_logs_without_end_stops_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotor.sdk.logger.LINES_MAX", 3)

    async def body(ctx: Context[Any]) -> None:
        for number in range(100):
            ctx.logger.info("line %d", number)

    server = FakeServer(workflow(body))
    await server.run()
    assert texts(server) == ["line 0", "line 1", "line 2"]


async def test_what_a_body_says_while_it_is_unwound_is_not_told() -> None:
    async def body(ctx: Context[Any]) -> None:
        try:
            await ctx.step.sleep("nap", "1h")
        finally:
            ctx.logger.info("leaving")

    server = FakeServer(workflow(body), keep=False)
    await server.run()
    assert server.status == "waiting"
    assert said(server) == []


async def test_the_process_s_own_handlers_get_the_line_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: Context[Any]) -> None:
        ctx.logger.info("mine")

    caplog.set_level(logging.INFO)
    await FakeServer(workflow(body)).run()
    (record,) = [one for one in caplog.records if one.name == "rotor.run"]
    assert (record.getMessage(), record.funcName) == ("mine", "body")
