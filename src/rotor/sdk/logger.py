"""A run's logger: a plain one of this process, whose lines also travel to the server to be shown with the run.

A line is sent at once and never again: logging must not hold a run up, and a line that is lost shows as a gap in the
numbers of the others.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from rotor import limits
from rotor.protocol.messages import LogLevel, LogLine
from rotor.sdk.calls import Calls
from rotor.sdk.place import CurrentStep, place

__all__ = ["RunLogger"]

_logger = logging.getLogger("rotor.run")
_formatter = logging.Formatter("%(message)s")

LEVELS: Final[tuple[tuple[int, LogLevel], ...]] = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)
LINES_MAX: Final = limits.LOG_LINES_PER_RUN + 1
"""One more than the server keeps, so that it can say that there were more."""


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """The logger `rotor.run`, with `run_id` and `function_id` on each record; silent while the run is replayed.

    Lines of INFO and above are shown with the run, or of the level that `rotor.run` itself is set to; whatever
    handlers the process has get theirs as from any logger.
    """

    def __init__(self, function_id: str, calls: Calls) -> None:
        super().__init__(_logger, {"run_id": calls.outbox.run_id, "function_id": function_id})
        self._calls = calls
        self._loop = calls.loop
        self._asked = 0
        self._sent = 0

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  (logging's own name)
        """Whether a record of `level` is written now."""
        return not self._calls.replaying and (self._is_shown(level) or super().isEnabledFor(level))

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the run to the record, beside what the caller adds."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at `level`, for this process and for the run."""
        if self._calls.replaying:
            return
        if self._is_shown(level):
            self._show(level, msg, args, kwargs.get("exc_info"))
        super().log(level, msg, *args, **kwargs | {"stacklevel": kwargs.get("stacklevel", 1) + 1})

    def _is_shown(self, level: int) -> bool:
        return level >= (_logger.level or logging.INFO) and not self._calls.sealed

    def _show(self, level: int, msg: object, args: tuple[object, ...], exc_info: Any) -> None:
        if self._asked >= LINES_MAX:
            return
        self._asked += 1
        here = place.get()
        step = {"step_id": here.id, "step_index": here.index} if isinstance(here, CurrentStep) else {}
        send = partial(self._send, _level(level), _text(level, msg, args, exc_info), step)
        if _running_loop() is self._loop:
            send()
            return
        with suppress(RuntimeError):  # the loop is closed: nothing of the run can be told any more
            self._loop.call_soon_threadsafe(send, context=self._calls.branches.neutral)

    def _send(self, level: LogLevel, message: str, step: dict[str, Any]) -> None:
        self._sent += 1
        outbox = self._calls.outbox
        outbox.mention(LogLine(run_id=outbox.run_id, number=self._sent, level=level, message=message, **step))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _level(level: int) -> LogLevel:
    return next((name for least, name in LEVELS if level >= least), "debug")


def _text(level: int, msg: object, args: tuple[object, ...], exc_info: Any) -> str:
    """The line with its traceback, if it has one, within LOG_LINE_CHARACTERS."""
    if isinstance(exc_info, BaseException):
        exc_info = type(exc_info), exc_info, exc_info.__traceback__
    elif exc_info and not isinstance(exc_info, tuple):
        exc_info = sys.exc_info()
    try:
        text = _formatter.format(_logger.makeRecord(_logger.name, level, "", 0, msg, args, exc_info or None))
    except Exception as error:  # a log line must not fail the run, whatever is wrong with its arguments
        shown = repr(msg) if isinstance(msg, str) else f"a {type(msg).__name__}"
        text = f"{shown} cannot be formatted with its arguments: {type(error).__name__}"
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8 form
    return text if len(text) <= limits.LOG_LINE_CHARACTERS else text[: limits.LOG_LINE_CHARACTERS - 1] + "…"
