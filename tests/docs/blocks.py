"""One way to run each kind of code block of the documentation. A kind that is not known fails: nothing is left out.

| info string | what is done |
|---|---|
| `python` | run, in the page's namespace |
| `python theirs` | parsed: the code of another system, shown beside ours |
| `sh` | each command is run or held against what it calls (`tests/docs/shell.py`) |
| `json`, `json NAME` | parsed; as the message or frame NAME of the protocol, with no field that it does not have |
| `cel` | each line is read as a match expression |
| `sql` | run on the schema, and rolled back |
| `ini` | parsed |
| `mermaid` | must be one of the drawings of `tests/docs/drawings.py` |
| `text` | a drawing or what a program prints: nothing to run |

A comment `<!-- invisible-code-block: python` holds checks that a reader does not see.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
from collections.abc import Iterator
from typing import Any, Final, get_args

import asyncpg
import msgspec
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

from rotor.engine.matching import parse_match
from rotor.protocol import invocations, messages
from tests.docs import drawings, shell

__all__ = ["blocks"]

_FENCED = RawFencedCodeBlockLexer(re.compile(r"(?P<info>[^\n]*)\n"))
_HIDDEN = DirectiveInHTMLCommentLexer(directive="invisible-code-block", arguments="[a-z]+")
_FRAMES: Final[dict[str, Any]] = {
    "worker frame": list[messages.WorkerMessage],
    "server frame": list[messages.ServerMessage],
    "run frame": list[messages.RunMessage],
    "holder frame": list[messages.HolderMessage],
    "checkpoints": list[invocations.Checkpoint],
}

run_python = PythonEvaluator()


def blocks(document: Document) -> Iterator[Region]:
    """Every block of a page, visible or not."""
    for region in _FENCED(document):
        language, _, name = region.lexemes["info"].strip().partition(" ")
        region.parsed = region.lexemes["source"]
        region.evaluator = _Runner(language, name)
        yield region
    for region in _HIDDEN(document):
        region.parsed = region.lexemes["source"]
        region.evaluator = _Runner(region.lexemes["arguments"], "")
        yield region


class _Runner:
    """Runs a block by its info string."""

    def __init__(self, language: str, name: str) -> None:
        self._language = language
        self._name = name

    def __call__(self, example: Example) -> None:
        text = str(example.parsed)
        match self._language:
            case "python" if self._name == "theirs":
                ast.parse(text)
            case "python":
                run_python(example)
            case "sh":
                shell.run(text, example.namespace)
            case "json":
                read_json(text, self._name)
            case "cel":
                for expression in text.splitlines():
                    parse_match(expression)
            case "sql":
                example.namespace["server"].run(run_sql(text, example.namespace["server"]))
            case "ini":
                configparser.ConfigParser(strict=False).read_string(text)
            case "mermaid":
                assert text.strip() in drawings.ALL, "this drawing is not the one that the code says"
            case "text":
                pass
            case _:
                raise AssertionError(f"no way is known to run a block of kind {self._language!r}")


def read_json(text: str, name: str) -> None:
    """Parse `text` as the message or frame `name`, or as any JSON where there is no name."""
    value = json.loads(text)
    if name:
        kind = _FRAMES.get(name) or getattr(messages, name, None) or getattr(invocations, name)
        msgspec.json.decode(text, type=kind)
        check_fields(value, kind)


def check_fields(value: Any, kind: Any) -> None:
    """Raise where an object of `value` has a field that its struct lacks."""
    if isinstance(value, list):
        for item in value:
            check_fields(item, next(iter(get_args(kind)), Any))
        return
    structs = [one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    if not isinstance(value, dict) or not structs:
        return
    struct = next((one for one in structs if one.__struct_config__.tag == value.get("type")), structs[0])
    types = {field.name: field.type for field in msgspec.structs.fields(struct)}
    unknown = value.keys() - types.keys() - {"type"}
    assert not unknown, f"{struct.__name__} has no {unknown}"
    for field, item in value.items():
        check_fields(item, types.get(field, Any))


async def run_sql(text: str, server: Any) -> None:
    connection = await asyncpg.connect(server.dsn, server_settings={"search_path": server.schema})
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(text)
        await transaction.rollback()
    finally:
        await connection.close()
