"""The text of a CEL expression: its tokens, and the equalities that an index can answer.

The CEL library hides its syntax tree, so this reads what it needs from the tokens: the conjuncts joined by `&&` at the
top, and among them those of the form PATH == LITERAL. CEL's `a && b` is true exactly if both are, whatever the order
and whichever fails, so each conjunct may be judged alone. The rule throughout: what is not certainly such an equality
stays with the rest, which the library judges.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from rotor.engine.paths import ROOTS, Path, is_storable

__all__ = ["Equality", "Token", "has_comment", "path_at", "split", "string_value", "tokens_of"]

Equality: TypeAlias = tuple[Path, Any]

# A raw string has no escapes, so it must be tried first: in r"\" the backslash does not take the quote.
_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+)
  | (?P<comment>//[^\n]*)
  | (?P<string>
        (?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n\r]*"|'[^'\n\r]*')
      | [bB]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n\r]|\\.)*"|'(?:[^'\\\n\r]|\\.)*')
    )
  | (?P<number>0x[0-9a-fA-F]+[uU]?|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||[=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN: Final = frozenset("([{")
_CLOSE: Final = frozenset(")]}")
_WORDS: Final = {"true": True, "false": False, "null": None}
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES: Final = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t"}
_EXACT_BELOW: Final = 2**53
"""Beyond this a float stands for several integers, and how the library compares them is its own matter."""


class Token(NamedTuple):
    """A piece of an expression; `kind` is string, number, name or sign."""

    kind: str
    text: str
    start: int
    end: int


@lru_cache(maxsize=64)
def tokens_of(expression: str) -> tuple[Token, ...]:
    """The tokens of an expression that is valid CEL, spaces and comments left out."""
    return tuple(
        Token(found.lastgroup or "", found.group(), found.start(), found.end())
        for found in _TOKEN.finditer(expression)
        if found.lastgroup not in ("space", "comment")
    )


def has_comment(expression: str) -> bool:
    """Whether some of an expression that is valid CEL is a comment."""
    return "//" in expression and any(found.lastgroup == "comment" for found in _TOKEN.finditer(expression))


def split(expression: str, *, taken: Set[Path] = frozenset()) -> tuple[list[Equality], str | None]:
    """The equalities among the conjuncts of an expression that is valid CEL, one a path, and the rest of it.

    Equalities at the paths `taken`, which have one already, stay in the rest.

    >>> split('data.contactId == "c1" && data.score > 3')
    ([(('data', 'contactId'), 'c1')], 'data.score > 3')
    """
    if has_comment(expression):
        return [], expression
    equalities: dict[Path, Any] = {}
    rest = []
    for part in _conjuncts(tokens_of(expression)):
        equality = _equality(part)
        if equality is None or equality[0] in equalities or equality[0] in taken:
            rest.append(expression[part[0].start : part[-1].end])
        else:
            equalities[equality[0]] = equality[1]
    return list(equalities.items()), "&&".join(rest) or None


def path_at(tokens: Sequence[Token], position: int) -> tuple[Path, int] | None:
    """The longest path that begins at `position`, and the position after it."""
    if position >= len(tokens) or tokens[position].text not in ROOTS:
        return None
    if position and tokens[position - 1].text == ".":
        return None
    keys = [tokens[position].text]
    position += 1
    while (step := _step(tokens, position)) is not None:
        keys.append(step[0])
        position = step[1]
    return tuple(keys), position


def string_value(token: Token) -> str | None:
    """What a string token stands for; None where that is not plain to see (bytes, three quotes, rare escapes)."""
    prefix, quote, content = token.text.partition(token.text[-1])
    content = content[:-1]
    if token.kind != "string" or "b" in prefix.lower() or content[:2] == quote * 2:
        return None
    if prefix:
        return content
    values = [_escaped(found) for found in _ESCAPE.finditer(content)]
    if None in values:
        return None
    return _ESCAPE.sub(lambda found: _escaped(found) or "", content)


def _conjuncts(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """The conjuncts of an expression, those within parentheses around several of them as well."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "sign":
            depth += (token.text in _OPEN) - (token.text in _CLOSE)
            if depth == 0 and token.text in ("||", "?"):
                return [tokens]
            if depth == 0 and token.text == "&&":
                parts.append([])
                continue
        parts[-1].append(token)
    if len(parts) > 1:
        return [conjunct for part in parts for conjunct in _conjuncts(part)]
    within = _within_parentheses(tokens)
    inner = _conjuncts(within) if within else []
    return inner if len(inner) > 1 or (inner and _equality(inner[0])) else [tokens]


def _within_parentheses(tokens: Sequence[Token]) -> Sequence[Token] | None:
    """What stands between parentheses that enclose all of `tokens`."""
    if len(tokens) < 3 or tokens[0].text != "(" or tokens[-1].text != ")":
        return None
    depth = 0
    for token in tokens[:-1]:
        if token.kind == "sign":
            depth += (token.text in _OPEN) - (token.text in _CLOSE)
        if depth == 0:
            return None
    return tokens[1:-1]


def _equality(tokens: Sequence[Token]) -> Equality | None:
    """The path and value of PATH == LITERAL or LITERAL == PATH, where `tokens` are just that."""
    signs = [index for index, token in enumerate(tokens) if token.text == "=="]
    if len(signs) != 1:
        return None
    sides = tokens[: signs[0]], tokens[signs[0] + 1 :]
    for path_side, literal_side in (sides, sides[::-1]):
        path = path_at(path_side, 0)
        literal = _literal(literal_side)
        if path is not None and path[1] == len(path_side) and literal is not None and is_storable(path[0]):
            return path[0], literal[0]
    return None


def _step(tokens: Sequence[Token], position: int) -> tuple[str, int] | None:
    """The key of `.key` or `["key"]` at `position`, and the position after it. A call is no step."""
    texts = [token.text for token in tokens[position : position + 3]]
    if len(texts) >= 2 and texts[0] == "." and tokens[position + 1].kind == "name" and texts[2:] != ["("]:
        return texts[1], position + 2
    if len(texts) == 3 and texts[0] == "[" and texts[2] == "]" and tokens[position + 1].kind == "string":
        key = string_value(tokens[position + 1])
        return None if key is None else (key, position + 3)
    return None


def _literal(tokens: Sequence[Token]) -> tuple[Any] | None:
    negative = len(tokens) == 2 and tokens[0].text == "-" and tokens[1].kind == "number"
    if len(tokens) != 1 and not negative:
        return None
    token = tokens[-1]
    if token.kind == "name":
        return (_WORDS[token.text],) if token.text in _WORDS else None
    if token.kind == "number":
        number = _number(token.text)
        if number is None or (negative and token.text[-1] in "uU"):
            return None
        return (-number if negative else number,)
    text = string_value(token)
    return None if text is None else (text,)


def _number(text: str) -> int | float | None:
    digits = text.rstrip("uU")
    is_whole = digits.isdigit() or digits.startswith("0x")
    number = int(digits, 16 if digits.startswith("0x") else 10) if is_whole else float(digits)
    return number if abs(number) < _EXACT_BELOW else None


def _escaped(escape: re.Match[str]) -> str | None:
    if escape[1] is None:
        return _ESCAPES.get(escape[2])
    character = chr(int(escape[1], 16))
    return None if "\ud800" <= character <= "\udfff" else character
