"""Arguments that cannot be sent are refused where they are given, by a message that names the call and the argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotor import limits
from rotor.errors import ConfigError, DurationError, ExpressionError, LimitError, RotorError
from rotor.sdk import step_arguments

CALL = "step.wait_for_event('w')"


@pytest.mark.parametrize(
    ("value", "error", "reason"),
    [
        ("", ConfigError, "the name of an event"),
        (7, ConfigError, "the name of an event"),
        ("a\0b", ConfigError, "NUL"),
        ("\ud800", ConfigError, "lone surrogate"),
        ("x" * (limits.ID_CHARACTERS + 1), LimitError, "ID_CHARACTERS"),
    ],
    ids=ascii,
)
def test_a_name_that_cannot_be_kept_is_refused(value: object, error: type[RotorError], reason: str) -> None:
    with pytest.raises(error, match=reason) as raised:
        step_arguments.name(CALL, "event", value, "the name of an event")
    assert CALL in str(raised.value)
    assert "event" in str(raised.value)


@pytest.mark.parametrize("value", ["user.created", "a b", "é😀", "x" * limits.ID_CHARACTERS])
def test_any_other_text_is_a_name(value: str) -> None:
    assert step_arguments.name(CALL, "event", value, "the name of an event") == value


@pytest.mark.parametrize(
    ("match", "error"),
    [
        ("x" * (limits.EXPRESSION_CHARACTERS + 1), ExpressionError),
        ("data.a == '\0'", ExpressionError),
        ("data.a == '\ud800'", ExpressionError),
        ({"data.\udfff": 1}, ConfigError),
        ({7: 1}, ConfigError),
        (["data.a"], ConfigError),
    ],
    ids=ascii,
)
def test_a_match_that_cannot_be_sent_is_refused(match: object, error: type[RotorError]) -> None:
    with pytest.raises(error, match="match of step"):
        step_arguments.matching(CALL, match)


def test_an_instant_lies_no_farther_ahead_than_a_sleep_may_last() -> None:
    near = datetime.now(UTC) + limits.SLEEP
    assert step_arguments.instant("step.sleep_until('s')", "when", near) == near
    with pytest.raises(DurationError, match="SLEEP"):
        step_arguments.instant("step.sleep_until('s')", "when", near + timedelta(days=2))


def test_a_workflow_is_named_by_its_id_or_is_the_function_itself() -> None:
    assert step_arguments.function_id("step.invoke('i')", "enrich") == "enrich"
    with pytest.raises(ConfigError, match="a function or its id"):
        step_arguments.function_id("step.invoke('i')", 7)
