"""The log of the long-running commands: an event a line on standard error, for people or as JSON for machines.

Each line says to which run and step it belongs: what the logging code tells (`extra`), or else the step in whose body
it was called, whichever library called it.
"""

from __future__ import annotations

import json
import logging
import os
import re
from datetime import UTC, datetime
from typing import Any

from rotor.errors import ConfigError
from rotor.sdk.place import CurrentStep, place

__all__ = ["JsonFormatter", "TextFormatter", "start_logging"]

LEVELS = ("debug", "info", "warning", "error")
FIELDS = ("run_id", "function_id", "step_id", "step_index", "attempt")
"""What a line may say beside its message."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def start_logging() -> None:
    """Log from the level that `ROTOR_LOG` names, `info` unless set, in the form of `ROTOR_LOG_FORMAT`, `text` unless
    set. Raises `ConfigError` for an unknown one.
    """
    level = os.environ.get("ROTOR_LOG", "info").lower()
    if level not in LEVELS:
        raise ConfigError(f"ROTOR_LOG is {level!r}; give one of {', '.join(LEVELS)}")
    form = os.environ.get("ROTOR_LOG_FORMAT", "text").lower()
    if form not in FORMATTERS:
        raise ConfigError(f"ROTOR_LOG_FORMAT is {form!r}; give one of {', '.join(FORMATTERS)}")
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[form]())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class TextFormatter(logging.Formatter):
    """For people. A message of several lines is indented, so that no text from outside passes for a line of the log."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The lines of one event."""
        line = super().format(record)
        named = [
            f"{field}={value}" for field, value in _belonging(record).items() if str(value) not in record.getMessage()
        ]
        shown = f"{line}  ({', '.join(named)})" if named else line
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], shown).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """For machines: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_belonging(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def _belonging(record: logging.LogRecord) -> dict[str, Any]:
    """The run and the step of a record, as far as they are known."""
    here = place.get()
    known: dict[str, Any] = {}
    if isinstance(here, CurrentStep):
        known = {"run_id": here.run_id, "step_id": here.id, "step_index": here.index, "attempt": here.attempt}
    return known | {field: getattr(record, field) for field in FIELDS if hasattr(record, field)}
