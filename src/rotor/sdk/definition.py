"""`create_function`: makes a durable function of a handler, and reads its types from the handler's annotations."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar, get_args, get_origin, overload

from rotor.errors import ConfigError
from rotor.sdk.annotations import resolve
from rotor.sdk.context import Context, SyncContext
from rotor.sdk.functions import Function, Trigger, function_spec

__all__ = ["create_function"]

T = TypeVar("T")
R = TypeVar("R")


class FunctionDecorator(Protocol):
    """What `create_function(...)` gives: it takes a handler and makes a `Function`."""

    @overload
    def __call__(self, handler: Callable[[Context[T]], Coroutine[Any, Any, R]], /) -> Function[T, R]: ...
    @overload
    def __call__(self, handler: Callable[[SyncContext[T]], R], /) -> Function[T, R]: ...


def create_function(*, id: str, trigger: Trigger | Sequence[Trigger], retries: int = 3) -> FunctionDecorator:
    """Make a durable function of an `async def` that takes a `Context`, or of a `def` that takes a `SyncContext`.

    `id` names it in the workspace. `trigger` is `{"event": NAME}`, with `"match"` a CEL condition on the event, or
    `{"cron": "0 9 * * 1"}`, with `"timezone"`, or a list of such. `retries` is how often a failed step or body is
    tried again, unless the step says otherwise. Annotated as `Context[Lead]`, the event's data is validated into
    `Lead`: a dict, TypedDict, dataclass, msgspec Struct or pydantic model.

        @create_function(id="welcome", trigger={"event": "user.created"}, retries=2)
        async def welcome(ctx: Context[User]) -> str:
            return await ctx.step.run("greet", greet, ctx.event.data.name)

    Raises `ConfigError` for arguments or a handler that cannot be used.
    """
    spec = function_spec(id, trigger, retries)

    def decorate(handler: Callable[[Any], Any], /) -> Function[Any, Any]:
        names = sys._getframe(1).f_locals
        is_async = inspect.iscoroutinefunction(handler)
        data_type = _data_type(id, handler, is_async, names)
        annotation = getattr(handler, "__annotations__", {}).get("return", Any)
        result_type = resolve(handler, "return", annotation, names)
        return Function(spec, handler, is_async=is_async, data_type=data_type, result_type=result_type)

    return decorate


def _data_type(id: str, handler: Callable[[Any], Any], is_async: bool, names: Mapping[str, Any]) -> Any:
    """`T` of the handler's `Context[T]`."""
    parameter = _parameter(id, handler)
    if parameter.annotation is parameter.empty:
        return Any
    annotation = resolve(handler, parameter.name, parameter.annotation, names)
    expected, other = (Context, SyncContext) if is_async else (SyncContext, Context)
    context = get_origin(annotation) or annotation
    if context is other:
        raise ConfigError(
            f"the handler of function {id!r} is {'an async def' if is_async else 'a plain def'}: "
            f"annotate its parameter as {expected.__name__}, not {other.__name__}"
        )
    if annotation is not Any and context is not expected:
        raise ConfigError(f"the handler of function {id!r} must take a {expected.__name__}, not {annotation!r}")
    data_type = next(iter(get_args(annotation)), Any)
    return Any if isinstance(data_type, TypeVar) else data_type


def _parameter(id: str, handler: Callable[[Any], Any]) -> inspect.Parameter:
    """The handler's one parameter."""
    if not inspect.isroutine(handler) or inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise ConfigError(f"the handler of function {id!r} must be a def or an async def that does not yield")
    parameters = list(inspect.signature(handler).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [one for one in parameters if one.default is one.empty and one.kind not in optional]
    if not positional or needed not in ([], positional[:1]):
        raise ConfigError(f"the handler of function {id!r} must take one argument, its context")
    return positional[0]
