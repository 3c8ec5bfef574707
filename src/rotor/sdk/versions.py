"""Which code an app runs, so that each step of a run shows which version made it."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from rotor import limits
from rotor.errors import ConfigError
from rotor.sdk.functions import Function

__all__ = ["code_version"]

DIGEST_BYTES: Final = 6


def code_version(functions: Iterable[Function[Any, Any]], given: str | None) -> str:
    """`given`, or ROTOR_VERSION, or a hash of the files in which the functions stand (twelve hexadecimal digits).

    What those files import is not in the hash. Raises `ConfigError` for a version that is too long.
    """
    named = given or os.environ.get("ROTOR_VERSION")
    if named is None or not named:
        return _hash(functions)
    if len(named) > limits.ID_CHARACTERS:
        raise ConfigError(f"version has {len(named)} characters; the limit is {limits.ID_CHARACTERS} (ID_CHARACTERS)")
    return named


def _hash(functions: Iterable[Function[Any, Any]]) -> str:
    files = {inspect.getsourcefile(inspect.unwrap(function.handler)) for function in functions}
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    found = sorted(file for file in files if file is not None and Path(file).is_file())
    for file in found:
        digest.update(Path(file).read_bytes())
    return digest.hexdigest() if found else ""
