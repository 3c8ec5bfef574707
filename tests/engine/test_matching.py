"""Matches: every vector, splitting that changes nothing, and hashes that find what is equal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor import limits
from rotor.engine.expression_cost import LOOP_ITEMS
from rotor.engine.matching import Candidate, Match, event_hashes, parse_match, value_hash
from rotor.engine.paths import look_up, parse_path, path_text
from rotor.errors import ExpressionError
from tests.conformance_vectors import shown, vectors

VECTORS = vectors("matching")
EVENT = {**VECTORS["event"], "ts": datetime.fromisoformat(VECTORS["event"]["ts"])}
SMALL = {**EVENT, "data": {key: value for key, value in EVENT["data"].items() if key != "huge"}}


def again(match: Match) -> Match:
    return parse_match(match.rest, dict(match.equals))


@pytest.mark.parametrize("vector", VECTORS["matches"], ids=shown)
def test_matches_take_what_the_vectors_say(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(ExpressionError, match=r"^match "):
            parse_match(vector.get("match"), vector.get("equals"))
    else:
        match = parse_match(vector.get("match"), vector.get("equals"))
        assert match.accepts(EVENT) is vector["accepts"]
        assert again(match).accepts(EVENT) is vector["accepts"]


@pytest.mark.parametrize(
    ("expression", "equals", "rest"),
    [
        ('data.a == "x"', {"data.a": "x"}, None),
        ('"x" == data.a && 1.5 == data.b', {"data.a": "x", "data.b": 1.5}, None),
        ('data["a b"].c == null && id == "e"', {'data["a b"].c': None, "id": "e"}, None),
        ('data.a == "a && b" && data.b > 1', {"data.a": "a && b"}, "data.b > 1"),
        ('(data.a == "x" && (data.b || data.c)) && data.d', {"data.a": "x"}, "(data.b || data.c)&&data.d"),
        ('data.a == "x" || data.b', {}, 'data.a == "x" || data.b'),
        ('data.a == "x" ? data.b : data.c', {}, 'data.a == "x" ? data.b : data.c'),
        ("data.a == 1 && data.a == 2", {"data.a": 1}, "data.a == 2"),
        ("data.a == 9007199254740993", {}, "data.a == 9007199254740993"),
        ("data.a == 1 == true", {}, "data.a == 1 == true"),
        ("data.l[0] == 1 && data.a == 1", {"data.a": 1}, "data.l[0] == 1"),
        ("data.a == r'\\d'", {"data.a": "\\d"}, None),
        ("data.a == 'x' // && data.b == 1", {}, "data.a == 'x' // && data.b == 1"),
        ("data." + "k" * 300 + " == 1", {}, "data." + "k" * 300 + " == 1"),
    ],
)
def test_equalities_are_split_off_where_they_certainly_are_some(
    expression: str, equals: dict[str, Any], rest: str | None
) -> None:
    match = parse_match(expression)
    assert (dict(match.equals), match.rest) == (equals, rest)


@pytest.mark.parametrize(
    ("expression", "index_path"),
    [
        ("data.vip == true && data.a == 1", "data.a"),
        ('id == "e" && data.vip == true', "data.vip"),
        ('name == "n" && id == "e"', "id"),
        ('name == "n"', None),
        ("data.a > 1", None),
    ],
)
def test_the_equality_that_tells_most_is_indexed(expression: str, index_path: str | None) -> None:
    match = parse_match(expression)
    assert match.index_path == index_path
    assert (match.match_hash == 0) is (index_path is None)


def test_no_condition_takes_every_event() -> None:
    assert parse_match(None) == Match((), None, None, 0)
    assert parse_match(None, {}).accepts(EVENT)


def test_a_mapping_cannot_be_injected_into() -> None:
    match = parse_match(None, {"data.contactId": '" || true || "'})
    assert not match.accepts(EVENT)


def test_a_path_required_by_both_must_hold_for_both() -> None:
    match = parse_match('data.contactId == "c1"', {"data.contactId": "c2"})
    assert match.rest == 'data.contactId == "c1"'
    assert not match.accepts(EVENT)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("x" * (limits.EXPRESSION_CHARACTERS + 1), "EXPRESSION_CHARACTERS"),
        (" && ".join(f"data.a{number} == 1" for number in range(limits.MATCH_PATHS + 1)), "MATCH_PATHS"),
        ("data.a ==", "line 1, column 10"),
        ("event.data.a == 1", 'unknown name "event"'),
        ("data.l.map(x, x) == []", 'uses "map"; use exists'),
        ("data.l.exists(x, data.m.exists(y, x == y))", "within a loop"),
        ('data.a.matches("(?=x)")', "cannot be read"),
        ("data.a.matches()", "plain string"),
        ("data.l.exists()", "does not know"),
        ("(" * 200 + "true" + ")" * 200, "not CEL"),
        ("data.a == '\ud800'", "not CEL"),
    ],
)
def test_what_is_refused_is_refused_with_its_reason(expression: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_match(expression)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "equals", [{"data.a": float("nan")}, {"data.a": "\ud800"}, {"data.\ud800": 1}, {"data.a": b"x"}]
)
def test_a_required_value_that_json_lacks_is_refused(equals: dict[str, Any]) -> None:
    with pytest.raises(ExpressionError, match=r"^match "):
        parse_match(None, equals)


def test_no_loop_holds_over_a_list_beyond_the_limit() -> None:
    match = parse_match("data.items.exists(item, item == 0)")
    assert match.accepts({**EVENT, "data": {"items": [0] * LOOP_ITEMS}})
    assert not match.accepts({**EVENT, "data": {"items": [0] * (LOOP_ITEMS + 1)}})


def test_one_candidate_serves_many_matches() -> None:
    candidate = Candidate(EVENT)
    taken = [number for number in range(10) if parse_match(f"data.score + 0 == {number}").accepts(candidate)]
    assert taken == [5]


def test_hashes_never_change() -> None:
    assert value_hash("data.contactId", "c1") == -106002508402306383
    assert value_hash("data.score", 5) == value_hash("data.score", 5.0)
    assert value_hash("data.none", None) is not None
    assert value_hash("data.tags", []) is None


def test_an_event_is_hashed_where_it_holds_a_scalar() -> None:
    paths = ["data.contactId", "data.tags", "data.missing", 'data.address["postal code"]', "id"]
    expected = [("data.contactId", "c1"), ('data.address["postal code"]', "75001"), ("id", "evt_1")]
    assert event_hashes(EVENT, paths) == [value_hash(path, value) for path, value in expected]


NUMBERS = st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, 1.5, 2**53, 2**53 + 1, 2**64, float(2**64), 10**400])
SCALARS = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "1", "x", "é"]) | st.text(max_size=3)


@given(required=SCALARS, held=SCALARS)
def test_what_is_equal_has_equal_hashes_and_what_is_hashed_is_in_range(required: Any, held: Any) -> None:
    match = parse_match(None, {"data": required})
    hashes = event_hashes({**EVENT, "data": held}, ["data"])
    if match.accepts({**EVENT, "data": held}):
        assert hashes == [match.match_hash]
    assert all(-(2**63) <= number < 2**63 and number != 0 for number in hashes)


@given(keys=st.lists(st.text(max_size=5), max_size=5))
def test_a_path_has_one_text_that_reads_back(keys: list[str]) -> None:
    path = ("data", *keys)
    assert parse_path(path_text(path)) == path
    assert path_text(parse_path(path_text(path))) == path_text(path)


PATHS = [
    "data.contactId",
    "data.score",
    'data["whole"]',
    "data.vip",
    "data.none",
    "data.missing",
    "data.tags",
    "data.number",
]
LITERALS = [
    '"c1"',
    "'c1'",
    'r"c1"',
    '"\\u0063\\x31"',
    "5",
    "5.0",
    "-5",
    "5u",
    "0x5",
    "1",
    "true",
    "false",
    "null",
    '"a && b"',
]
ATOMS = (
    st.tuples(st.sampled_from(PATHS), st.sampled_from(["==", "==", "==", "!=", ">"]), st.sampled_from(LITERALS)).map(
        " ".join
    )
    | st.tuples(st.sampled_from(LITERALS), st.just("=="), st.sampled_from(PATHS)).map("".join)
    | st.sampled_from(
        ["data.vip", "has(data.missing)", '"a" in data.tags', "data.tags.exists(t, t == 'a' && true)", "name"]
    )
)


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.tuples(inner, st.sampled_from([" && ", "&&", " || ", " == "]), inner).map("".join)
    return (
        joined
        | inner.map(lambda part: f"({part})")
        | inner.map(lambda part: f"!({part})")
        | st.tuples(inner, inner, inner).map(lambda parts: "{} ? {} : {}".format(*parts))
        | inner.map(lambda part: f"{part} // && data.score == 6\n")
    )


@given(expression=st.recursive(ATOMS, combined, max_leaves=6))
def test_splitting_never_changes_the_answer(expression: str) -> None:
    try:
        whole = cel.evaluate(expression, SMALL) is True
    except Exception:
        whole = False
    try:
        match = parse_match(expression)
    except ExpressionError:
        with pytest.raises(ValueError, match="parse"):
            cel.compile(expression)
        return
    assert match.accepts(SMALL) is whole
    assert again(match).accepts(SMALL) is whole
    if match.index_path is not None and whole:
        assert match.match_hash in event_hashes(SMALL, [match.index_path])


@given(text=st.text(alphabet="data.ct=&|()[]\"'\\r0 1!<+?:,x\n\0é/", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_match(text).accepts(EVENT)
        parse_match(None, {text: 1}).accepts(EVENT)
    except ExpressionError:
        return


def test_a_path_goes_through_objects_only() -> None:
    assert look_up(EVENT, ("data", "address", "city")) == "Paris"
    assert parse_match(None, {"data.tags.0": "a"}).accepts(EVENT) is False
