"""A worker's WebSocket without ASGI in the way of each frame.

ASGI has a queue, a halt of the reading and some turns of the event loop between a frame and whoever acts on it. What
serves the application offers the frames themselves, as the extension `FRAMES` of the scope.
"""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ["FRAMES", "Frames", "Listener"]

FRAMES: Final = "rotor.frames"


class Listener(Protocol):
    """Who acts on what comes."""

    def received(self, frame: bytes) -> None:
        """A frame came."""

    def writable(self) -> None:
        """More can be sent, after a while in which it could not."""

    def lost(self) -> None:
        """The connection is closing, or gone: nothing more comes, and nothing can be sent."""


class Frames(Protocol):
    """An accepted WebSocket, text in and text out."""

    def take(self, listener: Listener) -> None:
        """From now on all that comes goes to `listener`, first of all what has come already."""

    def is_writable(self) -> bool:
        """Whether the other side reads what it is sent."""

    def send_frame(self, frame: bytes) -> None:
        """Send `frame`; what is sent on a connection that is gone is lost."""

    def pause(self) -> None:
        """Read no more for now. What has been read already still comes."""

    def resume(self) -> None:
        """Read again."""

    def abort(self) -> None:
        """End the connection at once, whatever is still to be sent."""
