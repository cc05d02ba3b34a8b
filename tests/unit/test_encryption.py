from __future__ import annotations

import base64
import hashlib
import re
import sys

import pytest
from cryptography.fernet import Fernet

from channels_redis_shared.messages.encryption import Cipher, make_cipher


def cipher(*keys: str | bytes) -> Cipher:
    """The cipher for some keys."""
    created = make_cipher(list(keys))
    assert created is not None
    return created


@pytest.mark.parametrize("keys", [None, [], ()])
def test_no_keys_mean_no_encryption(keys: object) -> None:
    """Without keys there is no cipher."""
    assert make_cipher(keys) is None


def test_key_is_derived_as_in_channels_redis() -> None:
    """The Fernet key is the URL-safe base64 of the SHA-256 of a user's key, as UTF-8."""
    key = "schlüssel"
    fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
    assert fernet.decrypt(cipher(key).encrypt(b"hello")) == b"hello"
    assert cipher(key).decrypt(fernet.encrypt(b"hello")) == b"hello"


def test_key_may_be_bytes() -> None:
    """The bytes of a key are the same key as its text."""
    assert cipher(b"key").decrypt(cipher("key").encrypt(b"hello")) == b"hello"


@pytest.mark.parametrize("keys", ["my-secret-key", {"my-secret-key"}])
def test_keys_must_be_a_list(keys: object) -> None:
    """One str would be taken for a key per letter, and a set has no first key."""
    with pytest.raises(ValueError, match="must be a list of keys, the one to encrypt") as caught:
        make_cipher(keys)
    assert "my-secret-key" not in str(caught.value)


def test_missing_cryptography_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, keys are an error that shows the command to run."""
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    expected = 'run pip install "channels-redis-shared[cryptography]"'
    with pytest.raises(ValueError, match=re.escape(expected)):
        make_cipher(["key"])
