"""The messages of one run to the server: numbered, and kept until they are acknowledged."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from rotor.protocol.messages import HolderSays, LogLine, RunMessage, StepStarted
from rotor.sdk.place import call_outside

__all__ = ["Channel", "Outbox"]

M = TypeVar("M", bound=RunMessage)


class Channel(Protocol):
    """The way to the server."""

    def send(self, message: HolderSays) -> None:
        """Send `message` soon, after those before it, with all that is sent in the same turn of the event loop.

        It neither blocks nor raises, and does not answer before it returns.
        """


class Outbox:
    """What one run has sent."""

    def __init__(self, run_id: str, channel: Channel) -> None:
        self.run_id = run_id
        self._channel = channel
        self._numbers = 0
        self._unacknowledged: dict[int, RunMessage] = {}
        self._held: list[RunMessage] = []

    @property
    def unacknowledged(self) -> list[RunMessage]:
        """In the order in which they were sent."""
        return list(self._unacknowledged.values())

    def send(self, kind: type[M], **fields: Any) -> M:
        """Send a message of `kind`, which the server acknowledges."""
        message = kind(run_id=self.run_id, n=self.next_number(), **fields)
        self.post(message)
        return message

    def next_number(self) -> int:
        """The number of the message that is posted next."""
        self._numbers += 1
        return self._numbers

    def post(self, message: RunMessage) -> None:
        """Send a message that has the next number, which the server acknowledges."""
        self._unacknowledged[message.n] = message
        if self._held:
            self.flush()
        call_outside(self._channel.send, message)

    def hold(self, kind: type[M], **fields: Any) -> None:
        """`send`, once more is sent or with `flush`: so that what follows from the message goes into the same frame."""
        message = kind(run_id=self.run_id, n=self.next_number(), **fields)
        self._unacknowledged[message.n] = message
        self._held.append(message)

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, []
        for message in held:
            call_outside(self._channel.send, message)

    def mention(self, message: StepStarted | LogLine) -> None:
        """Send what the server does not acknowledge."""
        call_outside(self._channel.send, message)

    def acknowledge(self, n: int) -> RunMessage | None:
        """The message numbered `n`, if it was not acknowledged before."""
        return self._unacknowledged.pop(n, None)
