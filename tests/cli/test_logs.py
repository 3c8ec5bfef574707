"""A line of the log says to which run and step it belongs, and nothing from outside passes for a line of its own."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from rotor.cli.logs import JsonFormatter, TextFormatter, start_logging
from rotor.errors import ConfigError
from rotor.sdk.place import CurrentStep, place


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.WARNING, __file__, 1, message, arguments, None)
    vars(made).update(more)
    return made


def test_a_line_of_json_says_which_run_and_step_it_was_logged_in() -> None:
    token = place.set(CurrentStep("run-1", "charge", 2, 1))
    try:
        line = json.loads(JsonFormatter().format(record("charged %d", 7)))
    finally:
        place.reset(token)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "shop",
        "message": "charged 7",
        "run_id": "run-1",
        "step_id": "charge",
        "step_index": 2,
        "attempt": 1,
    }


def test_a_line_of_json_says_what_its_record_knows() -> None:
    line = json.loads(JsonFormatter().format(record("hello", run_id="run-1", function_id="shop")))
    assert (line["run_id"], line["function_id"], line["message"]) == ("run-1", "shop", "hello")


def test_a_failure_is_one_line_of_json() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        told = record("failed", exc_info=sys.exc_info())
    text = JsonFormatter().format(told)
    assert "\n" not in text
    assert "ValueError: no" in json.loads(text)["exception"]


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_text_from_outside_cannot_forge_a_line(formatter: logging.Formatter) -> None:
    text = formatter.format(record("event %s", "a\n2026-01-01 INFO rotor  all is well\x1b[2J\r\u2028"))
    lines = text.splitlines()
    assert not any(line.startswith("2026-01-01 INFO") for line in lines)
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_line_for_people_says_what_the_message_does_not() -> None:
    told = record("run run-1: it broke off", run_id="run-1", function_id="shop")
    assert TextFormatter().format(told).endswith("run run-1: it broke off  (function_id=shop)")


@pytest.mark.parametrize("name", ["ROTOR_LOG", "ROTOR_LOG_FORMAT"])
def test_a_setting_that_there_is_not_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "loud")
    with pytest.raises(ConfigError, match=f"{name} is 'loud'; give one of"):
        start_logging()
