"""Django's system checks of the layers in CHANNEL_LAYERS."""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from channels.layers import BaseChannelLayer
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..config.hosts import parse_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The length of secrets.token_urlsafe(24): 192 random bits.
SHORTEST_KEY = 32
MAKE_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'

_QUEUE = "channels_redis_queue"
_BACKENDS = (
    "channels_redis.core.RedisChannelLayer",
    "channels_redis.pubsub.RedisPubSubChannelLayer",
    "channels_redis_queue.RedisChannelLayer",
    "channels_redis_pubsub.RedisPubSubChannelLayer",
)
# The similarity, from 0 to 1, of an import string to a layer's that it is taken for.
_NEAR = 0.8
_EXAMPLE = (
    'CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis_queue.RedisChannelLayer", '
    '"CONFIG": {...}}}'
)


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
        layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
        if self._reports_for_all():
            yield from self._form(layers)
        own = [
            (alias, cls)
            for alias, entry in (layers.items() if isinstance(layers, dict) else ())
            if (cls := _backend(entry)) and issubclass(cls, self.layer)
        ]
        for alias, cls in own:
            yield from self._entry(alias, cls, layers[alias])
            if self.further is not None:
                yield from self.further(self, alias)
        if own:
            yield from self._loggers()

    def _reports_for_all(self) -> bool:
        """Return whether this object reports mistakes that no package's layer owns."""
        apps = {app.partition(".")[0] for app in settings.INSTALLED_APPS}
        return self.package == _QUEUE or apps.isdisjoint({"channels_redis", _QUEUE})

    def _form(self, layers: object) -> Iterator[CheckMessage]:
        if not isinstance(layers, dict) or not isinstance(layers.get("BACKEND", {}), dict):
            yield self.error(
                3, "CHANNEL_LAYERS must be a dict of alias to layer.", f"Write {_EXAMPLE}."
            )
            return
        aliases = [str(alias).lower() for alias in layers]
        near = difflib.get_close_matches("default", aliases)
        if "default" not in layers and (near or not layers):
            yield self.warning(
                4,
                "CHANNEL_LAYERS has no layer 'default': in consumers, self.channel_layer is None.",
                f"Write {_EXAMPLE}, or set channel_layer_alias in each consumer.",
            )
        for alias, entry in layers.items():
            where = f"CHANNEL_LAYERS[{alias!r}]"
            if not isinstance(entry, dict) or "BACKEND" not in entry:
                text = f"{where} must be a dict with the key 'BACKEND'."
                yield self.error(3, text, f"Write {_EXAMPLE}.")
            elif _backend(entry) is None:
                yield from self._unknown_backend(where, entry["BACKEND"])

    def _unknown_backend(self, where: str, name: object) -> Iterator[CheckMessage]:
        """Yield an error if the name is not one of a layer, but resembles one of ours."""
        nearest = difflib.get_close_matches(str(name), _BACKENDS, n=1, cutoff=_NEAR)
        if nearest or str(name).startswith("channels_redis"):
            package = nearest[0].partition(".")[0] if nearest else "channels_redis"
            yield self.error(
                4,
                f"{where}['BACKEND'], {name!r}, is not the import string of a layer.",
                f"Write {' or '.join(map(repr, nearest or _BACKENDS))}; its package must be "
                f"installed: pip install {package.replace('_', '-')}",
            )

    def _entry(self, alias: str, cls: type[Any], entry: dict[str, Any]) -> Iterator[CheckMessage]:
        where = f"CHANNEL_LAYERS[{alias!r}]"
        ignored = [key for key in entry if key not in {"BACKEND", "CONFIG", "TEST_CONFIG"}]
        if ignored:
            yield self.warning(
                5,
                f"{where} has {', '.join(map(repr, ignored))}, which Channels ignores.",
                f"Write the layer's options in {where}['CONFIG'].",
            )
        options = entry.get("CONFIG", {})
        where = f"{where}['CONFIG']"
        if not isinstance(options, dict):
            yield self.error(
                3,
                f"{where} must be a dict of options, not {type(options).__name__}.",
                'Write {"hosts": ["redis://localhost:6379/0"]}, or leave \'CONFIG\' out.',
            )
            return
        yield from self._options(where, cls, options)
        yield from self._keys(where, options.get("symmetric_encryption_keys"))

    def _options(
        self, where: str, cls: type[Any], options: dict[str, Any]
    ) -> Iterator[CheckMessage]:
        try:
            # This opens no connection.
            layer = cls(**options)
        except TypeError as error:
            yield self.error(1, f"{where}: {error}", "Correct the option's name, or remove it.")
        except ValueError as error:
            yield self.error(2, f"{where}: {error}", "Write a value that the option takes.")
        else:
            hosts = [str(host) for host in parse_hosts(layer.hosts)]
            twice = sorted({host for host in hosts if hosts.count(host) > 1})
            if options.get("hosts") == []:
                yield self.warning(
                    9,
                    f"{where}['hosts'] is empty: the layer connects to {hosts[0]}.",
                    "Write the server, or leave the option out.",
                )
            if twice:
                yield self.warning(
                    6,
                    f"{where}['hosts'] has {', '.join(twice)} more than once.",
                    "Write each server once: every entry is a shard, with connections of its own.",
                )

    def _loggers(self) -> Iterator[CheckMessage]:
        logging = getattr(settings, "LOGGING", None)
        loggers = logging.get("loggers") if isinstance(logging, dict) else None
        if not isinstance(loggers, dict) or self.package in loggers:
            return
        former = [name for name in loggers if f"{name}.".startswith("channels_redis.")]
        if former:
            yield self.warning(
                7,
                f"LOGGING has the logger {', '.join(map(repr, former))}, to which this layer logs "
                "nothing.",
                f"Name the logger {self.package!r}.",
            )

    def _keys(self, where: str, keys: object) -> Iterator[CheckMessage]:
        if not isinstance(keys, list | tuple):
            return
        where = f"{where}['symmetric_encryption_keys']"
        if not keys:
            yield self.warning(
                8,
                f"{where} is empty: messages are not encrypted.",
                f"Write a key, made with {MAKE_KEY}, or leave the option out.",
            )
        secrets = {_as_bytes(secret) for secret in _secrets()}
        for position, key in enumerate(keys):
            if not key or not isinstance(key, str | bytes):
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
    """Return the class of an entry's layer; None if it names none."""
    try:
        found = import_string(entry["BACKEND"])
    except (ImportError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return found if isinstance(found, type) and issubclass(found, BaseChannelLayer) else None


def _secrets() -> Iterator[str | bytes]:
    """Yield Django's signing keys."""
    with contextlib.suppress(ImproperlyConfigured):  # SECRET_KEY is not set
        yield settings.SECRET_KEY
    yield from getattr(settings, "SECRET_KEY_FALLBACKS", ())


def _as_bytes(key: str | bytes) -> bytes:
    return key.encode(errors="surrogatepass") if isinstance(key, str) else key
