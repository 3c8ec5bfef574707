"""A holder is told of each of its messages the commit that recorded it."""

from __future__ import annotations

from msgspec.structs import replace

from rotor.engine.telling import Groups, messages_of
from rotor.protocol.messages import Committed
from tests import messages
from tests.engine.cases import LEASE, OTHER_LEASE, RUN, key, says


def groups_told(groups: Groups) -> list[tuple[int, list[int]]]:
    said = messages_of((LEASE, RUN), None, [1], groups, 0)
    return [(message.group, message.runs[str(RUN)]) for message in said if isinstance(message, Committed)]


def test_what_is_said_again_keeps_the_commit_that_recorded_it() -> None:
    again = says(replace(messages.done(RUN, "a"), n=1))

    assert groups_told(Groups.of(9, {key("a"): 4}, [again])) == [(4, [1])]


def test_what_an_earlier_holder_said_under_the_same_number_is_another_message() -> None:
    late = says(replace(messages.failed(RUN, "a"), n=1), lease_id=OTHER_LEASE)
    fresh = says(replace(messages.done(RUN, "b"), n=1))

    assert groups_told(Groups.of(9, {key("a"): 4}, [late, fresh])) == [(9, [1])]
