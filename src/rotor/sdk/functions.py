"""What a durable function is: its id, what starts it, and its handler, checked where it is written.

`create_function` stands in `rotor.sdk.definition`, above the context that handlers take; steps know functions from
here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Never, NotRequired, TypeAlias, TypedDict, TypeVar, cast

from rotor import limits
from rotor.errors import ConfigError
from rotor.protocol import messages

__all__ = ["CronTrigger", "DataOf", "EventTrigger", "Function", "Trigger", "function_spec"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

DataOf: TypeAlias = T | Callable[[T], Never]
"""The data that a function takes, as a parameter that stands beside `workflow: Function[T, R]`.

The second half takes no value: it makes mypy read `workflow` first, so that a dict literal given as the data is checked
against the function's TypedDict, and accepted, as pyright does anyway.
"""


class EventTrigger(TypedDict):
    """Starts a function for each event of a name; with `match`, only where the CEL expression holds."""

    event: str
    match: NotRequired[str]


class CronTrigger(TypedDict):
    """Starts a function on a schedule: five cron fields, in `timezone` (UTC where left out)."""

    cron: str
    timezone: NotRequired[str]


Trigger: TypeAlias = EventTrigger | CronTrigger


class Function(Generic[T_contra, R_co]):
    """A durable function, `Function[T, R]`: `T` is the data of the event that starts it, `R` what it returns.

    Made by `create_function`; not called directly. `step.invoke` takes it as `workflow`, and is then typed by it.
    A list of several, where it is kept in a variable, is a `list[Function[Any, Any]]`.
    """

    def __init__(
        self,
        spec: messages.FunctionSpec,
        handler: Callable[[Any], Any],
        *,
        is_async: bool,
        data_type: Any,
        result_type: Any,
    ) -> None:
        self.id = spec.id
        self.spec = spec
        self.handler = handler
        self.is_async = is_async
        self.data_type = data_type
        """The type that the event's data is validated into; `Any` where the handler does not say."""
        self.result_type = result_type
        """The handler's return annotation; `Any` where it does not say."""
        self.__name__ = getattr(handler, "__name__", spec.id)
        self.__doc__ = handler.__doc__
        self.__module__ = handler.__module__

    def __repr__(self) -> str:
        return f"<Function {self.id!r}>"


def function_spec(id: str, trigger: Trigger | Sequence[Trigger], retries: int) -> messages.FunctionSpec:
    """The registration of a function. Raises `ConfigError` that names the argument at fault."""
    _check_text("id", id, limits.ID_CHARACTERS, "ID_CHARACTERS")
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= limits.RETRIES:
        raise ConfigError(f"retries of function {id!r} is {retries!r}; give a whole number from 0 to {limits.RETRIES}")
    triggers = [trigger] if isinstance(trigger, Mapping) else trigger
    if not isinstance(triggers, list | tuple) or not 1 <= len(triggers) <= limits.TRIGGERS_PER_FUNCTION:
        raise ConfigError(
            f"trigger of function {id!r} must be a dict or a list of 1 to {limits.TRIGGERS_PER_FUNCTION} of them "
            "(TRIGGERS_PER_FUNCTION)"
        )
    return messages.FunctionSpec(id=id, triggers=[_trigger(id, one) for one in triggers], retries=retries)


def _trigger(id: str, trigger: Any) -> messages.Trigger:
    where = f"trigger of function {id!r}"
    if not isinstance(trigger, Mapping):
        raise ConfigError(f'{where} must be a dict such as {{"event": "user.created"}}, not {type(trigger).__name__}')
    given = cast("Mapping[str, Any]", trigger)
    if ("event" in given) == ("cron" in given):
        raise ConfigError(f'{where} needs either "event" or "cron", and not both')
    allowed = {"event": ("match", limits.EXPRESSION_CHARACTERS), "cron": ("timezone", limits.ID_CHARACTERS)}
    kind = "event" if "event" in given else "cron"
    option, option_characters = allowed[kind]
    if unknown := sorted(str(key) for key in given if key not in (kind, option)):
        raise ConfigError(f'{where} has {", ".join(unknown)}; beside "{kind}" it may have "{option}" alone')
    _check_text(f"{where}: {kind}", given[kind], limits.ID_CHARACTERS, "ID_CHARACTERS")
    if given.get(option) is not None:
        _check_text(f"{where}: {option}", given[option], option_characters, "EXPRESSION_CHARACTERS")
    return messages.Trigger(**{key: value for key, value in given.items() if value is not None})


def _check_text(what: str, value: Any, characters_max: int, limit: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{what} must be a text that is not empty, not {value!r}")
    if len(value) > characters_max:
        raise ConfigError(f"{what} has {len(value):,} characters; the limit is {characters_max:,} ({limit})")
    if value != value.strip() or not value.isprintable():
        raise ConfigError(f"{what} {value!r} has surrounding white space or characters that cannot be printed")
