"""An address and a key are taken as people write them, and refused where nothing could be sent with them."""

from __future__ import annotations

import pytest

from rotor.errors import ConfigError
from rotor.sdk.environment import api_key_or_default, url_or_default


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://rotor.example.com", "https://rotor.example.com"),
        ("HTTP://rotor:8484/", "HTTP://rotor:8484"),
        ("http://[::1]:8484", "http://[::1]:8484"),
        (
            "http://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:8484",
            "http://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:8484",
        ),
        ("http://my_rotor.internal.:8484", "http://my_rotor.internal.:8484"),
        ("https://example.com/rotor/", "https://example.com/rotor"),
        ("http://rotor:8484\n", "http://rotor:8484"),
    ],
)
def test_an_address_is_a_host_perhaps_with_a_port_and_a_path(given: str, url: str) -> None:
    assert url_or_default(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "rotor:8484",
        "ws://rotor:8484",
        "http://",
        "http://:8484",
        "http://rotor:port",
        "http://rotor:99999",
        "http://rotor:0",
        "http://[::1",
        "http://rotor..example.com",
        f"http://{'r' * 64}.example.com",
        "http://rotor/?a=b",
        "http://rotor/#a",
    ],
)
def test_what_is_no_address_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTOR_URL", given)
    with pytest.raises(ConfigError, match="is no address of a server"):
        url_or_default(None)


def test_a_password_in_an_address_is_refused_and_not_told() -> None:
    with pytest.raises(ConfigError, match="ROTOR_API_KEY") as refused:
        url_or_default("https://ada:secret@rotor.example.com")
    assert "secret" not in str(refused.value)


def test_a_key_may_come_with_the_end_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTOR_API_KEY", "a-key\n")
    assert api_key_or_default(None) == "a-key"
    monkeypatch.setenv("ROTOR_API_KEY", "\n")
    assert api_key_or_default(None) is None


@pytest.mark.parametrize("given", ["a\r\nx: y", "a\0", "k\u00e9y"])
def test_what_is_no_key_is_refused_and_not_told(given: str) -> None:
    with pytest.raises(ConfigError, match="ROTOR_API_KEY") as refused:
        api_key_or_default(given)
    assert given not in str(refused.value)
