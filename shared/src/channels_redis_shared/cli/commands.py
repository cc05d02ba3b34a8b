"""The command line: arguments, the layers that they name, and the output."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from argparse import ArgumentParser
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core.management import BaseCommand
from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from ..ops.logs import shown
from .findings import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .doctor import LayerDoctor
    from .findings import Section

# Channels and groups that `stats` shows.
MAX_ROWS = 20
# The exit status for errors.
NOT_WORKING = 2
_DEPENDENCIES = ("channels", "Django", "redis", "hiredis", "msgpack")
_CONCLUSIONS = ("All is well.", "It works, with warnings.", "It does not work.")


class WrongUsageError(Exception):
    """Raised when the arguments or the settings name no layer that can be made."""


@dataclass(frozen=True)
class TargetLayer:
    """A layer to examine: the doctor of its package, its title, and a function that makes it."""

    doctor: LayerDoctor
    title: str
    make: Callable[[], Any]


def run(package: str, doctors: Sequence[Any], arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    Args:
        package: The import name of the package whose command this is.
        doctors: The `LayerDoctor` of each package whose layers to examine, which has another base
            class in each package.
        arguments: Those of the process by default.
    """
    parser = ArgumentParser(f"python -m {package}", description=DoctorCommand.help)
    _add_arguments(parser)
    parser.add_argument("urls", nargs="*", help="the hosts; redis://localhost:6379 if none")
    parser.add_argument("--prefix", help="the layer's prefix, if it is not the default")
    parser.add_argument("--django", action="store_true", help="read CHANNEL_LAYERS instead")
    chosen = parser.parse_intermixed_args(arguments)
    if chosen.django and (chosen.urls or chosen.prefix is not None):
        parser.error("--django reads everything from the settings: leave out the rest")
    at_urls = partial(layers_at, doctors, chosen.urls, chosen.prefix)
    layers = partial(_layers_in_settings, doctors) if chosen.django else at_urls
    return _run(layers, chosen.command, as_json=chosen.json)


class DoctorCommand(BaseCommand):  # type: ignore[misc]  # Django has no type hints
    """Run `doctor` and `stats` for the layers in CHANNEL_LAYERS.

    Attributes:
        doctors: As for `run`.
    """

    help = (
        "doctor says what is wrong with layers and their servers, and what to change; it exits "
        "with 1 for warnings, with 2 if something does not work. stats shows a layer's channels, "
        "waiting messages, groups and members."
    )
    # The doctor must run on settings that a check rejects.
    requires_system_checks = ()
    doctors: Sequence[Any]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's name and its option."""
        _add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Run the command; exit with its status unless all is well."""
        layers = partial(_layers_in_settings, self.doctors)
        if status := _run(layers, options["command"], as_json=options["json"]):
            sys.exit(status)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("command", choices=["doctor", "stats"])
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")


def _run(find_layers: Callable[[], list[TargetLayer]], command: str, *, as_json: bool) -> int:
    try:
        layers = find_layers()
        found: Any = asyncio.run(diagnose(layers) if command == "doctor" else overviews(layers))
    except (WrongUsageError, RedisError, OSError) as error:
        advice = "" if command == "doctor" else "\nThe command doctor says what to change."
        sys.stderr.write(f"{shown(str(error))}{advice}\n")
        return NOT_WORKING
    describe = _describe_diagnosis if command == "doctor" else _describe_overviews
    lines = [json.dumps(found, indent=2)] if as_json else describe(found)
    sys.stdout.write("\n".join(lines) + "\n")
    return int(found["status"]) if command == "doctor" else 0


def layers_at(
    doctors: Sequence[LayerDoctor], urls: Sequence[Any], prefix: str | None = None
) -> list[TargetLayer]:
    """Return a layer of each package with these hosts and prefix, or the defaults.

    Raises:
        WrongUsageError: They are not valid.
    """
    given = {"hosts": list(urls) or None, "prefix": prefix}
    config = {name: value for name, value in given.items() if value is not None}
    return [_target(one, one.layer_class, one.layer_class.__name__, config) for one in doctors]


def _layers_in_settings(doctors: Sequence[LayerDoctor]) -> list[TargetLayer]:
    try:
        # Serializers may be registered by any app.
        django.setup()
        entries = dict(settings.CHANNEL_LAYERS)
        classes = {alias: import_string(entry["BACKEND"]) for alias, entry in entries.items()}
    except Exception as error:  # settings are a program, and may raise anything
        raise WrongUsageError(f"the settings fail: {type(error).__name__}: {error}") from error
    layers = [
        _target(doctor, cls, f"CHANNEL_LAYERS[{alias!r}]", entries[alias].get("CONFIG", {}))
        for alias, cls in classes.items()
        for doctor in doctors
        if isinstance(cls, type) and issubclass(cls, doctor.layer_class)
    ]
    if not layers:
        wanted = " or ".join(doctor.layer_class.__name__ for doctor in doctors)
        names = ", ".join(sorted({entry["BACKEND"] for entry in entries.values()}))
        raise WrongUsageError(f"CHANNEL_LAYERS has no {wanted}, only {names or 'an empty dict'}")
    return layers


def _target(doctor: LayerDoctor, cls: Any, title: str, config: Any) -> TargetLayer:
    try:
        cls(**config)
    except (TypeError, ValueError) as error:
        raise WrongUsageError(f"{title}: {error}") from error
    return TargetLayer(doctor, title, partial(cls, **config))


async def diagnose(layers: Sequence[TargetLayer]) -> dict[str, Any]:
    """Return the findings about layers, the exit status, and the versions of what is installed."""
    versions = {"Python": platform.python_version()}
    for one in layers:
        versions[one.doctor.package] = import_module(one.doctor.package).__version__
    versions.update((name, version(name)) for name in _DEPENDENCIES)
    sections: list[Section] = []
    for one in layers:
        sections += await one.doctor.diagnose(one.title, one.make)
    plain = [asdict(section) for section in sections]
    for section in plain:
        for finding in section["findings"]:
            finding["level"] = finding["level"].name.lower()
    status = max(0, *(section.worst - Level.NOTE for section in sections))
    return {"status": status, "sections": plain, "versions": versions}


async def overviews(layers: Sequence[TargetLayer]) -> list[dict[str, Any]]:
    """Return what each layer has on its servers."""
    found = []
    for one in layers:
        layer = one.make()
        overview = await one.doctor.overview(layer, MAX_ROWS)
        found.append({"layer": one.title, **asdict(overview)})
        await layer.close_pools()
    return found


def _describe_diagnosis(found: dict[str, Any]) -> Iterator[str]:
    for section in found["sections"]:
        yield f"\n{section['title']}"
        for one in section["findings"]:
            # Some of it comes from servers, and might hold control sequences for the terminal.
            yield f"  {one['level']:<8} {one['subject']:<14} {shown(one['text'])}"
            if one["advice"]:
                yield f"{'':>25} -> {one['advice']}"
    yield "\nFor a bug report:"
    yield from (f"  {name} {number}" for name, number in found["versions"].items())
    yield f"\n{_CONCLUSIONS[found['status']]}"


def _describe_overviews(found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of tables of a layer's channels and groups, the largest first."""
    for one in found:
        channels = sorted(one["channels"].items(), key=lambda item: (-(item[1] or 0), item[0]))
        waiting = sum(count or 0 for _, count in channels)
        yield f"\n{one['layer']}: {len(channels)} channels, {waiting} waiting messages"
        yield f"{one['foreign']} names that are not the layer's"
        yield from (f"  {name}  {count or ''}" for name, count in channels[:MAX_ROWS])
        yield f"{one['groups']} groups, with processes and members"
        for group in one["largest_groups"]:
            yield "".join(f"  {'?' if value is None else value}" for value in group.values())
