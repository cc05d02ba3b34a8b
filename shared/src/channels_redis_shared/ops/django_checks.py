"""Django's system checks of the layers in CHANNEL_LAYERS."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The length of secrets.token_urlsafe(24): 192 random bits.
SHORTEST_KEY = 32
MAKE_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'


# Not frozen or compared: Django keeps checks in a set and sets attributes on them.
@dataclass(eq=False)
class Checks:
    """The checks of one package's layers.

    Attributes:
        package: The package's import name, with which the checks' ids begin.
        layer: The class of its layers.
        further: Further checks, called with this object and a layer's alias.
    """

    package: str
    layer: type[Any]
    further: Callable[[Checks, str], Iterator[CheckMessage]] | None = None

    def __call__(self, **_: object) -> list[CheckMessage]:
        """Return the messages about the package's layers."""
        return list(self._all())

    def error(self, number: int, text: str, hint: str) -> CheckMessage:
        """Return an error with an id of the package."""
        return Error(text, hint=hint, id=f"{self.package}.E{number:03}")

    def warning(self, number: int, text: str, hint: str) -> CheckMessage:
        """Return a warning with an id of the package."""
        return Warning(text, hint=hint, id=f"{self.package}.W{number:03}")

    def _all(self) -> Iterator[CheckMessage]:
        for alias, entry in (getattr(settings, "CHANNEL_LAYERS", None) or {}).items():
            cls = _backend(entry)
            if cls is None or not issubclass(cls, self.layer):
                continue
            options = dict(entry.get("CONFIG", {}))
            yield from self._options(alias, cls, options)
            yield from self._keys(alias, options.get("symmetric_encryption_keys"))
            if self.further is not None:
                yield from self.further(self, alias)

    def _options(self, alias: str, cls: type[Any], options: dict[str, Any]) -> Iterator[Any]:
        where = f"CHANNEL_LAYERS[{alias!r}]['CONFIG']"
        try:
            # This opens no connection.
            cls(**options)
        except TypeError as error:
            yield self.error(1, f"{where}: {error}", "Correct the option's name, or remove it.")
        except ValueError as error:
            yield self.error(2, f"{where}: {error}", "Write a value that the option takes.")

    def _keys(self, alias: str, keys: object) -> Iterator[CheckMessage]:
        if not isinstance(keys, list | tuple):
            return
        where = f"CHANNEL_LAYERS[{alias!r}]['CONFIG']['symmetric_encryption_keys']"
        secrets = {_as_bytes(secret) for secret in _secrets()}
        for position, key in enumerate(keys):
            if not isinstance(key, str | bytes):
                continue
            if _as_bytes(key) in secrets:
                yield self.warning(
                    2,
                    f"{where}[{position}] is the SECRET_KEY: when one of them leaks or changes, "
                    "so does the other.",
                    f"Use a key of its own, made with {MAKE_KEY}. Keep this one behind it in the "
                    "list until all processes have the new one.",
                )
            if len(key) < SHORTEST_KEY:
                yield self.warning(
                    1,
                    f"{where}[{position}] has {len(key)} characters, so few that it might be "
                    "guessed.",
                    f"Use a key of at least {SHORTEST_KEY} random characters, made with "
                    f"{MAKE_KEY}. Keep this one behind it in the list until all processes have "
                    "the new one.",
                )


def _backend(entry: Any) -> type[Any] | None:
    """Return the class of an entry's layer; None if it cannot be imported."""
    try:
        found = import_string(entry["BACKEND"])
    except (ImportError, KeyError, TypeError, AttributeError):
        return None
    return found if isinstance(found, type) else None


def _secrets() -> Iterator[str | bytes]:
    """Yield Django's signing keys."""
    with contextlib.suppress(ImproperlyConfigured):  # SECRET_KEY is not set
        yield settings.SECRET_KEY
    yield from getattr(settings, "SECRET_KEY_FALLBACKS", ())


def _as_bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key
