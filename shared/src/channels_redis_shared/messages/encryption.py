"""Encrypt messages with Fernet, with keys derived from users' strings."""

from __future__ import annotations

import base64
import hashlib
import time


class Cipher:
    """Encrypt with the first of several keys, and decrypt with each of them.

    Args:
        keys: Non-empty str or bytes of any length.

    Raises:
        ValueError: The package `cryptography` is not installed.
    """

    def __init__(self, keys: list[str | bytes]) -> None:
        try:
            # An optional dependency.
            from cryptography.fernet import (  # noqa: PLC0415
                Fernet,
                InvalidToken,
                MultiFernet,
            )
        except ImportError as error:
            # The package that vendors this module, such as channels_redis_queue.
            package = __name__.partition(".")[0].replace("_", "-")
            raise ValueError(
                "symmetric_encryption_keys needs the package cryptography, which is not "
                f'installed: run pip install "{package}[cryptography]"'
            ) from error
        self._fernet = MultiFernet([Fernet(_fernet_key(key)) for key in keys])
        self._invalid_token = InvalidToken

    def encrypt(self, data: bytes) -> bytes:
        """Return `data` encrypted with the first key."""
        return self._fernet.encrypt(data)

    def decrypt(self, data: bytes, ttl: int | None = None) -> bytes:
        """Return the plain bytes of `data`.

        Args:
            data: A result of `encrypt`.
            ttl: Its maximum age in seconds; None: no limit.

        Raises:
            ValueError: Encrypted with none of the keys, altered, too old, or more than a minute
                ahead of this machine's clock.
        """
        try:
            return self._fernet.decrypt(data, ttl)
        except self._invalid_token:
            # InvalidToken has no message.
            raise ValueError(self._why_invalid(data)) from None

    def _why_invalid(self, data: bytes) -> str:
        try:
            self._fernet.decrypt(data)
        except self._invalid_token:
            return "it was encrypted with none of the symmetric_encryption_keys"
        # A token begins with a version byte and the sender's time.
        sent = int.from_bytes(base64.urlsafe_b64decode(data)[1:9], "big")
        age = round(time.time() - sent)
        when = f"{age} s ago" if age >= 0 else f"{-age} s in the future"
        return f"it was encrypted {when}: it is too old, or the clocks of the machines differ"


def make_cipher(keys: object) -> Cipher | None:
    """Return the cipher for the option `symmetric_encryption_keys`, or None if it has no keys.

    Raises:
        ValueError: `keys` is no list of non-empty str or bytes, or the package `cryptography`
            is not installed.
    """
    # No error shows a value: it may be a key.
    if keys is None:
        return None
    if not isinstance(keys, list | tuple):
        raise ValueError(
            "symmetric_encryption_keys must be a list of keys, the one to encrypt with first, "
            f"such as [os.environ['CHANNELS_KEY']], not a {type(keys).__name__}"
        )
    for position, key in enumerate(keys):
        if not isinstance(key, str | bytes):
            raise ValueError(
                f"symmetric_encryption_keys[{position}] must be a str or bytes, "
                f"not a {type(key).__name__}"
            )
        if not key:
            raise ValueError(
                f"symmetric_encryption_keys[{position}] is empty, and would protect nothing: "
                "write a long random string, or leave it out"
            )
    return Cipher(list(keys)) if keys else None


def _fernet_key(key: str | bytes) -> bytes:
    """Derive the Fernet key as channels_redis does."""
    secret = key.encode() if isinstance(key, str) else key
    return base64.urlsafe_b64encode(hashlib.sha256(secret).digest())
