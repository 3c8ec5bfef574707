"""How long a step takes is up to the machine, so none is announced for it, except where that is the test."""

from __future__ import annotations

import pytest

from rotor.sdk import bodies

SHOWN_AFTER_SECONDS = bodies.SHOWN_AFTER_SECONDS


@pytest.fixture(autouse=True)
def unannounced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SHOWN_AFTER_SECONDS", 3_600)


@pytest.fixture
def announced(unannounced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes its time is announced."""
    monkeypatch.setattr(bodies, "SHOWN_AFTER_SECONDS", SHOWN_AFTER_SECONDS)
