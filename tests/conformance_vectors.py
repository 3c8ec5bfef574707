"""The vectors of `conformance/`, which SDKs and servers in any language must pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rotor.protocol import json

FOLDER = Path(__file__).parent.parent / "conformance"


def vectors(name: str) -> dict[str, Any]:
    """All of `conformance/NAME.json`."""
    return json.decode_as((FOLDER / f"{name}.json").read_bytes(), dict[str, Any])


def shown(vector: dict[str, Any]) -> str:
    """A test id for a vector: what it gives, cut short."""
    inputs = [str(value) for key, value in vector.items() if key in ("name", "input", "match", "equals", "message_id")]
    return " ".join(inputs)[:60].encode("ascii", "replace").decode()
