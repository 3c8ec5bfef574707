"""Where match expressions are CEL as its specification has it, and each kind of case in which they are not.

docs/reference/steps.md lists the deviations; the cases here pin them, so that a new version of the library that mends
one is noticed, and the page with it.
"""

from __future__ import annotations

import pytest

from rotor.engine.conditions import Candidate, condition
from rotor.errors import ExpressionError

EVENT = {
    "data": {"city": "Zürich", "numbers": [3, 2, 0], "prices": {"tea": 4}, "of_type": None},
    "name": "tea.sold",
    "id": "e-1",
    "ts": 1,
}


def holds(expression: str) -> bool:
    return condition(expression).holds(Candidate(EVENT))


@pytest.mark.parametrize(
    "expression",
    [
        "data.absent == 1 || name == 'tea.sold'",
        "!(data.absent == 1 && name == 'coffee')",
        "1 / 0 == 1 || true",
        "7u == 7 && 7 == 7.0",
        "7.0 in [1, 7]",
        "data.numbers.exists(n, 6 / n == 2)",
        "data.numbers[1] == 2",
        "has(data.prices.tea) && !has(data.prices.milk)",
        "'tea' in data.prices",
        "data.of_type == null",
        "data.city.matches('^Z.r') && data.city.endsWith('rich')",
        r"'\U0001F375' == '🍵'",
        "type(1) == int && type('') == string",
        "timestamp('2026-03-01T10:00:00Z') + duration('90m') == timestamp('2026-03-01T11:30:00Z')",
        "timestamp('2026-03-01T10:00:00Z').getHours() == 10",
    ],
)
def test_what_agrees_with_the_specification(expression: str) -> None:
    assert holds(expression)


@pytest.mark.parametrize("expression", ["9223372036854775807 + 1 > 0", "1 / 0 == 0", "data.absent == 1", "'a' < 1"])
def test_an_expression_that_fails_does_not_hold(expression: str) -> None:
    assert not holds(expression)


@pytest.mark.parametrize(
    ("by_the_specification", "here"),
    [
        ("size(data.city) == 6", "size(data.city) == 7"),
        ("{2: 'b'} == {2u: 'b'}", "{2: 'b'} != {2u: 'b'}"),
        ("2u in {2: 'b'}", "!(2u in {2: 'b'})"),
        ("string(duration('90s')) == '90s'", "string(duration('90s')) == '1m30s'"),
        (
            "string(timestamp('2026-03-01T10:00:00Z')).endsWith('Z')",
            "string(timestamp('2026-03-01T10:00:00Z')).endsWith('0')",
        ),
    ],
)
def test_what_comes_out_otherwise(by_the_specification: str, here: str) -> None:
    assert not holds(by_the_specification)
    assert holds(here)


@pytest.mark.parametrize(
    "expression",
    [
        "int(timestamp('1970-01-01T00:01:00Z')) == 60",
        "timestamp(0) == timestamp('1970-01-01T00:00:00Z')",
        "timestamp('2026-03-01T10:00:00Z').getHours('Asia/Tokyo') == 19",
        "duration('1s') + timestamp('2026-03-01T10:00:00Z') == timestamp('2026-03-01T10:00:01Z')",
        "data.numbers[1.0] == 2",
        "!data.numbers.all(n, 6 / (n - 3) == -6)",
    ],
)
def test_what_fails_here_and_holds_by_the_specification(expression: str) -> None:
    assert not holds(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "-false",
        "-(-9223372036854775808) < 0",
        "{true: 1, true: 3}[true] == 3",
        r"string(b'\xfe') != ''",
        "duration('330000000000s') > duration('1s')",
    ],
)
def test_what_holds_here_and_fails_by_the_specification(expression: str) -> None:
    assert holds(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "bool('true')",
        "data.`city` == 'x'",
        "stranger || true",
        "data.prices.exists(key, price, price > 3)",
        "data.numbers.map(n, n + 1) == []",
        "[1, 2].exists(n, n == 1)",
        "type(timestamp('2026-03-01T10:00:00Z')) == google.protobuf.Timestamp",
    ],
)
def test_what_is_refused_when_it_is_written(expression: str) -> None:
    with pytest.raises(ExpressionError):
        condition(expression)
