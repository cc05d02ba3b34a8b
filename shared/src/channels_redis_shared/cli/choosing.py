"""Decides which layers a command looks at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .subject import Subject

from .subject import Examined


class NothingToExamineError(Exception):
    """Raised when there is no layer to look at; the text says what to write instead."""


def from_urls(subject: Subject, urls: Sequence[str], prefix: str | None) -> list[Examined]:
    """Return the layer with these hosts.

    Args:
        subject: The package.
        urls: Its hosts; none: the layer's default.
        prefix: Its prefix; None: the layer's default.

    Raises:
        NothingToExamineError: The URLs are not valid.
    """
    config: dict[str, Any] = {}
    if urls:
        config["hosts"] = list(urls)
    if prefix is not None:
        config["prefix"] = prefix
    return [Examined(subject.layer.__name__, _made(subject.layer, config), config)]


def from_django(subject: Subject) -> list[Examined]:
    """Return the layers of this package in the CHANNEL_LAYERS of DJANGO_SETTINGS_MODULE.

    Raises:
        NothingToExamineError: There is none, or the settings can't be loaded.
    """
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise NothingToExamineError(
            "--django reads the settings of your project: set DJANGO_SETTINGS_MODULE, as in "
            f"DJANGO_SETTINGS_MODULE=shop.settings python -m {subject.package} doctor --django, "
            "and run it where manage.py is"
        )
    import django  # noqa: PLC0415 - only here is it needed
    from django.conf import settings  # noqa: PLC0415
    from django.utils.module_loading import import_string  # noqa: PLC0415

    try:
        # Serializers may be registered by any app.
        django.setup()
        layers = dict(settings.CHANNEL_LAYERS)
        classes = {alias: import_string(entry["BACKEND"]) for alias, entry in layers.items()}
    except Exception as error:  # settings are a program, and may raise anything
        raise NothingToExamineError(
            f"the settings {os.environ['DJANGO_SETTINGS_MODULE']!r} can't be used: "
            f"{type(error).__name__}: {error}"
        ) from error
    ours = [alias for alias, cls in classes.items() if _is_ours(cls, subject)]
    if not ours:
        raise NothingToExamineError(
            f"CHANNEL_LAYERS has no {subject.layer.__name__}, only {_shown(classes)}: use the "
            "command of that layer's package"
        )
    return [
        Examined(
            f"{alias!r}, a {classes[alias].__name__}",
            _made(classes[alias], layers[alias].get("CONFIG", {}), alias),
            layers[alias].get("CONFIG", {}),
        )
        for alias in ours
    ]


def _made(cls: type[Any], config: dict[str, Any], alias: str | None = None) -> Any:
    try:
        return cls(**config)
    except (TypeError, ValueError) as error:
        where = "" if alias is None else f"CHANNEL_LAYERS[{alias!r}]: "
        raise NothingToExamineError(f"{where}{error}") from error


def _is_ours(cls: object, subject: Subject) -> bool:
    return isinstance(cls, type) and issubclass(cls, subject.layer)


def _shown(classes: dict[str, Any]) -> str:
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in classes.values())
    return ", ".join(sorted(names)) or "an empty dict"
