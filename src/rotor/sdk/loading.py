"""Finds the functions of an app that is named on a command line: a file, or `module[:attribute]`."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from rotor.errors import ConfigError
from rotor.sdk.functions import Function

__all__ = ["load_functions"]


def load_functions(app: str) -> list[Function[Any, Any]]:
    """Every function object in `app`: a file (`app.py`), a module (`shop.flows`), or one attribute (`shop.flows:all`)
    that is a function or a list of them.

    Raises `ConfigError` that says which file and line failed and why, or that there are no functions.
    """
    name, _, attribute = app.rpartition(":") if ":" in Path(app).name else (app, "", "")
    module = _import_file(Path(name)) if name.endswith(".py") else _import_module(name)
    found = _of_attribute(module, name, attribute) if attribute else _functions(vars(module).values())
    if not found:
        raise ConfigError(f"{app} has no functions; make one with @create_function(id=..., trigger=...)")
    return check_ids(found)


def check_ids(functions: Iterable[Function[Any, Any]]) -> list[Function[Any, Any]]:
    """`functions` as a list. Raises `ConfigError` where two share an id, or one is no function."""
    by_id: dict[str, Function[Any, Any]] = {}
    for function in functions:
        if not isinstance(function, Function):
            raise ConfigError(f"{function!r} is not a durable function; decorate it with @create_function(...)")
        other = by_id.setdefault(function.id, function)
        if other is not function:
            raise ConfigError(
                f"two functions have the id {function.id!r}: {other.__module__}.{other.__name__} and "
                f"{function.__module__}.{function.__name__}; give each its own"
            )
    return list(by_id.values())


def _of_attribute(module: ModuleType, name: str, attribute: str) -> list[Function[Any, Any]]:
    if not hasattr(module, attribute):
        raise ConfigError(f"{name} has no attribute {attribute!r}")
    value = getattr(module, attribute)
    return _functions(value if isinstance(value, list | tuple) else [value])


def _functions(values: Iterable[Any]) -> list[Function[Any, Any]]:
    return [value for value in values if isinstance(value, Function)]


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"there is no file {path} in {Path.cwd()}")
    path = path.resolve()
    folder, parts = path.parent, [path.stem]
    while (folder / "__init__.py").exists():  # a file of a package is imported as part of it
        parts.insert(0, folder.name)
        folder = folder.parent
    module = _import(".".join(parts), str(path), folder)
    if Path(module.__file__ or "").resolve() != path:
        raise ConfigError(f"{path} has the name of the module {module.__name__}, which Python finds first; rename it")
    return module


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"{name!r} is neither a file that ends in .py nor a module; give app.py or module:attribute")
    return _import(name, name, Path.cwd())


def _import(name: str, shown: str, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ConfigError as error:
        raise ConfigError(f"{_place(error, shown)}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{_place(error, shown)}: {type(error).__name__}: {error}") from error


def _place(error: Exception, shown: str) -> str:
    """The file and line of the user's code where importing failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    own = (str(Path(__file__).parent), "<frozen", importlib.__file__ or "")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else shown
