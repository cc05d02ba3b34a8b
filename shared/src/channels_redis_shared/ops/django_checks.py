"""Django's system checks of the layers in CHANNEL_LAYERS."""

from __future__ import annotations

import difflib
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Any

from channels.layers import BaseChannelLayer
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..config.hosts import parse_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

# The length of secrets.token_urlsafe(24): 192 random bits.
SHORTEST_KEY = 32
# Shorter parts of a SECRET_KEY may be in it by chance.
SHORTEST_PART = 8

_QUEUE = "channels_redis_queue"
_BACKENDS = (
    "channels_redis.core.RedisChannelLayer",
    "channels_redis.pubsub.RedisPubSubChannelLayer",
    "channels_redis_queue.RedisChannelLayer",
    "channels_redis_pubsub.RedisPubSubChannelLayer",
)
# The similarity, from 0 to 1, of an import string to a layer's that it is taken for.
_NEAR = 0.8
_EXAMPLE = f'Write CHANNEL_LAYERS = {{{{"default": {{{{"BACKEND": "{_BACKENDS[2]}"}}}}}}}}'
_NEW_KEY = (
    'Put one before it in the list, made with python -c "import secrets; '
    'print(secrets.token_urlsafe(32))", and take this one out when all processes have the new one.'
)
# Of each id, the text and the hint.
_MESSAGES = {
    "E001": ("{0}: {1}", "Write an option that the layer has, and a value that it takes."),
    "E002": ("{0} must be a dict{1}.", _EXAMPLE),
    "E003": ("{0}, {1!r}, is not the import string of a layer.", "Write {2}; pip install {3}"),
    "W001": ("{0} has {1} characters, so few that it might be guessed.", _NEW_KEY),
    "W002": ("{0} is the SECRET_KEY, or a part of it: one leak gives away both.", _NEW_KEY),
    "W003": ("{0} is empty: messages are not encrypted.", "Write a key, or leave the option out."),
    "W004": ("CHANNEL_LAYERS has no layer 'default', as self.channel_layer needs it.", _EXAMPLE),
    "W005": ("{0} has {1}, which Channels ignores.", "Write the layer's options in {0}['CONFIG']."),
    "W006": ("{0} and {1} share channels and groups, on {2}.", "Write another prefix in one."),
    "W007": ("{0} is the layer of channels_redis {1}.", "pip install 'channels-redis>=5'"),
}


def check_layers(package: str, layer: type[Any], **_: object) -> list[checks.CheckMessage]:
    """Return the messages about one package's layers.

    Args:
        package: The package's import name, with which the messages' ids begin.
        layer: The class of its layers.
    """
    return [
        (checks.Error if number.startswith("E") else checks.Warning)(
            *(text.format(*values) for text in _MESSAGES[number]), id=f"{package}.{number}"
        )
        for number, *values in _find(package, layer)
    ]


def _find(package: str, layer: type[Any]) -> Iterator[tuple[str, ...]]:
    entries = getattr(settings, "CHANNEL_LAYERS", None) or {}
    apps = {app.partition(".")[0] for app in settings.INSTALLED_APPS}
    # What no package's layer owns is reported once.
    if package == _QUEUE or apps.isdisjoint({"channels_redis", _QUEUE}):
        yield from _find_form(entries)
    servers: dict[str, str] = {}
    for alias, entry in entries.items() if isinstance(entries, dict) else ():
        if issubclass(cls := _backend(entry), layer):
            yield from _find_in_entry(f"CHANNEL_LAYERS[{alias!r}]", cls, entry, servers)


def _find_form(entries: Any) -> Iterator[tuple[str, ...]]:
    if not isinstance(entries, dict) or not isinstance(entries.get("BACKEND", {}), dict):
        yield "E002", "CHANNEL_LAYERS", " of alias to layer"
        return
    near = difflib.get_close_matches("default", [str(alias).lower() for alias in entries])
    if "default" not in entries and (near or not entries):
        yield ("W004",)
    for alias, entry in entries.items():
        where = f"CHANNEL_LAYERS[{alias!r}]"
        if not isinstance(entry, dict) or "BACKEND" not in entry:
            yield "E002", where, " with the key 'BACKEND'"
            continue
        name, where = str(entry["BACKEND"]), f"{where}['BACKEND']"
        if not issubclass(_backend(entry), BaseChannelLayer):
            near = difflib.get_close_matches(name, _BACKENDS, n=1, cutoff=_NEAR)
            if backends := near or _BACKENDS * name.startswith("channels_redis"):
                package = backends[0].partition(".")[0].replace("_", "-")
                yield "E003", where, name, " or ".join(map(repr, backends)), package
        elif name.startswith("channels_redis."):
            version = distribution("channels-redis").version
            if version[0] in "234":
                yield "W007", where, version


def _find_in_entry(
    where: str, cls: type[Any], entry: dict[str, Any], servers: dict[str, str]
) -> Iterator[tuple[str, ...]]:
    if ignored := [repr(key) for key in entry if key not in {"BACKEND", "CONFIG", "TEST_CONFIG"}]:
        yield "W005", where, ", ".join(ignored)
    options, config = entry.get("CONFIG", {}), f"{where}['CONFIG']"
    if not isinstance(options, dict):
        yield "E002", config, f" of options, not {type(options).__name__}"
        return
    try:
        layer = cls(**options)  # opens no connection
    except (TypeError, ValueError) as error:
        yield "E001", config, str(error)
        return
    for host in dict.fromkeys(map(str, parse_hosts(layer.hosts))):
        server = f"{host} with the prefix {layer.prefix!r}"
        if (other := servers.setdefault(server, where)) != where:
            yield "W006", other, where, server
    yield from _find_keys(f"{config}['symmetric_encryption_keys']", options)


def _find_keys(where: str, options: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    keys = options.get("symmetric_encryption_keys")
    if keys is not None and not keys:
        yield "W003", where
    for position, key in enumerate(map(_text, keys or ())):
        if len(key) >= SHORTEST_PART and any(key in _text(secret) for secret in _secrets()):
            yield "W002", f"{where}[{position}]"
        if len(key) < SHORTEST_KEY:
            yield "W001", f"{where}[{position}]", str(len(key))


def _backend(entry: Any) -> type[Any]:
    """Return the class that an entry names; NoneType if it names none."""
    try:
        found = import_string(entry["BACKEND"])
    except (ImportError, KeyError, TypeError, ValueError, AttributeError):
        found = None
    return found if isinstance(found, type) else type(None)


def _secrets() -> list[str | bytes]:
    """Return Django's signing keys."""
    try:
        return [settings.SECRET_KEY, *getattr(settings, "SECRET_KEY_FALLBACKS", ())]
    except ImproperlyConfigured:  # SECRET_KEY is not set
        return []


def _text(key: str | bytes) -> str:
    return key if isinstance(key, str) else key.decode(errors="surrogateescape")
