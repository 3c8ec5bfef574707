"""Payloads are sealed for their workspace under the first key, and opened under each."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.errors import ConfigError
from rotor.store import vault as vaults
from rotor.store.problems import Unreadable
from rotor.store.vault import Vault, is_sealed

OLD, NEW = b"o" * 32, b"n" * 32


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=2**62))
def test_what_is_sealed_opens_as_it_was_and_is_fifty_bytes_longer(payload: bytes, workspace_id: int) -> None:
    vault = Vault({"a": OLD})
    sealed = vault.seal(workspace_id, payload)
    assert is_sealed(sealed)
    assert len(sealed) == len(payload) + 50
    assert vault.open(sealed, workspace_id) == vault.open(sealed, None) == payload
    assert Vault({"a": OLD}).open(sealed, workspace_id) == payload


def test_the_same_payload_is_never_sealed_the_same_nor_under_one_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "MESSAGES_PER_SALT", 3)
    vault = Vault({"a": OLD})
    vault._number = 3
    sealed = [vault.seal(1, b'"x"') for _ in range(10)]
    assert len({one[vaults.HEADER : vaults.BODY] for one in sealed}) == 10
    assert len({one[vaults.HEADER : vaults.HEADER + 16] for one in sealed}) == 4
    assert {vault.open(one, 1) for one in sealed} == {b'"x"'}


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    before = Vault({"2026a": OLD}).seal(1, b"1")
    both = Vault({"2026b": NEW, "2026a": OLD})
    assert both.open(before, 1) == b"1"
    assert Vault({"2026b": NEW}).open(both.seal(1, b"2"), 1) == b"2"
    with pytest.raises(Unreadable, match=r"this server does not have \(it has 2026b\).*ROTOR_ENCRYPTION_KEYS"):
        Vault({"2026b": NEW}).open(before, 1)


def test_what_was_stored_before_is_read_as_it_is() -> None:
    assert Vault({"a": OLD}).open(b'{"plain": 1}', 1) == b'{"plain": 1}'


def test_what_was_moved_altered_or_sealed_under_a_namesake_does_not_open() -> None:
    vault = Vault({"a": OLD})
    sealed = vault.seal(1, b"secret")
    with pytest.raises(Unreadable, match="another workspace"):
        vault.open(sealed, 2)
    relabelled = sealed[:6] + (2).to_bytes(8, "big") + sealed[14:]
    for stored, ring in [
        (relabelled, vault),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), vault),
        (sealed[:20], vault),
        (sealed, Vault({"a": NEW})),
    ]:
        with pytest.raises(Unreadable, match="does not open with the key a"):
            ring.open(stored, None)


def key(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_keys_come_from_a_setting_the_first_of_which_seals() -> None:
    vault = Vault.parse(f"b:{key(NEW)}, a:{key(OLD)}")
    assert Vault({"b": NEW}).open(vault.seal(1, b"1"), 1) == b"1"
    assert vault.open(Vault({"a": OLD}).seal(1, b"1"), 1) == b"1"


@pytest.mark.parametrize(
    "text",
    ["", "a", f"a:{key(b'short')}", f":{key(OLD)}", f"a:{key(OLD)},", f"a:{key(OLD)},a:{key(NEW)}", "a:!" + key(OLD)],
)
def test_a_setting_that_cannot_be_used_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="ROTOR_ENCRYPTION_KEYS") as refused:
        Vault.parse(text)
    assert key(OLD) not in str(refused.value)
