"""Reads the annotations of a user's callables: what a step's function returns, what data a handler takes.

They may be text (`from __future__ import annotations`), may name classes local to a function, and may sit on partials,
methods and callable objects. A name that cannot be found is an error at once: guessing would change a type on replay.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Never, NoReturn, TypeVar, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from rotor.errors import ConfigError

__all__ = ["result_annotation", "resolve"]

_results: WeakKeyDictionary[Callable[..., Any], Any] = WeakKeyDictionary()


def result_annotation(function: Callable[..., Any]) -> Any:
    """What `function` gives, once awaited where it must be; `Any` where it does not say.

    Raises `ConfigError` for an annotation that names something unknown at run time.
    """
    plain = function if type(function) is types.FunctionType else _plain_function(function)
    if isinstance(plain, type):
        return plain
    annotation = getattr(plain, "__annotations__", {}).get("return", Any)
    if annotation is Any:
        return Any
    if isinstance(annotation, type):
        return Any if annotation is object else annotation
    try:
        return _results[plain]
    except KeyError:
        result = _results[plain] = _awaited(resolve(plain, "return", annotation))
        return result
    except TypeError:  # a callable that cannot be weakly referred to or hashed
        return _awaited(resolve(plain, "return", annotation))


def resolve(function: Callable[..., Any], name: str, annotation: Any, names: Mapping[str, Any] | None = None) -> Any:
    """The type that `annotation` of `name` stands for, looked up where `function` was written and in `names`."""
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return get_type_hints(
            holder,
            globalns=getattr(inspect.unwrap(function), "__globals__", {}),
            localns={**(names or {}), **_closure(function)},
            include_extras=True,
        )[name]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise ConfigError(
            f"the annotation {annotation!r} of {name!r} in {_name(function)} cannot be read: {error}. "
            "Import the names it uses at run time, not under TYPE_CHECKING, and define them at module level."
        ) from None


def _plain_function(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial | functools.partialmethod):
        function = function.func
    if inspect.ismethod(function):
        return function.__func__
    if isinstance(function, type) or hasattr(function, "__annotations__") or inspect.isbuiltin(function):
        return function
    return type(function).__call__


def _closure(function: Callable[..., Any]) -> dict[str, Any]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or cells is None:
        return {}
    return {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells, strict=True) if _filled(cell)}


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (reading an empty cell raises)
    except ValueError:
        return False
    return True


def _awaited(annotation: Any) -> Any:
    if get_origin(annotation) in (Awaitable, Coroutine):
        return _awaited(get_args(annotation)[-1])
    if isinstance(annotation, TypeVar) or annotation in (object, Never, NoReturn):
        return Any
    return annotation


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
