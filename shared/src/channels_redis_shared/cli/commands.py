"""The command line: its arguments, the layers that they name, and the output."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from ..ops.logs import shown
from .findings import Level

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Iterator, Sequence

    from .doctor import LayerDoctor
    from .findings import Section

# The exit status for errors.
NOT_WORKING = 2
_DEPENDENCIES = ("channels", "Django", "redis", "hiredis", "msgpack")
_CONCLUSIONS = ("All is well.", "It works, with warnings.", "It does not work.")


@dataclass(frozen=True)
class TargetLayer:
    """A layer to examine: the doctor of its package, its title, and a function that makes it."""

    doctor: LayerDoctor
    title: str
    make: Callable[[], Any]


class DoctorCommand(BaseCommand):  # type: ignore[misc]  # Django has no type hints
    """Run `doctor` or `stats` for the layers in CHANNEL_LAYERS, or for servers.

    Attributes:
        doctors: The `LayerDoctor` of each package whose layers to examine, which has another base
            class in each package.
    """

    help = (
        "doctor says what is wrong with layers and their servers, and what to change; it exits "
        "with 1 for warnings, with 2 if something does not work. stats prints a layer's channels, "
        "waiting messages, groups and members as JSON."
    )
    # The doctor must run on settings that a check rejects.
    requires_system_checks = ()
    doctors: Sequence[Any]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's name, and the servers."""
        parser.add_argument("command", choices=["doctor", "stats"])
        parser.add_argument("urls", nargs="*", help="servers, instead of those in CHANNEL_LAYERS")

    def handle(self, **options: Any) -> None:
        """Run the command; exit with its status unless all is well."""
        urls = options["urls"]
        layers = [*(self._layers_at(urls) if urls else self._layers_in_settings())]
        if options["command"] == "stats":
            self.stdout.write(json.dumps(asyncio.run(overviews(layers)), indent=2))
            return
        sections = asyncio.run(diagnose(layers))
        self.stdout.write("\n".join(_describe(sections)))
        names = [*(one.doctor.package for one in layers), *_DEPENDENCIES]
        versions = "".join(f"\n  {name} {version(name)}" for name in dict.fromkeys(names))
        self.stdout.write(f"\nFor a bug report:\n  Python {platform.python_version()}{versions}")
        status = max(0, *(section.worst - Level.NOTE for section in sections))
        self.stdout.write(f"\n{_CONCLUSIONS[status]}")
        if status:
            sys.exit(status)

    def _layers_at(self, urls: Sequence[str]) -> Iterator[TargetLayer]:
        for doctor in self.doctors:
            cls = doctor.layer_class
            yield _target(doctor, cls.__name__, cls, {"hosts": urls})

    def _layers_in_settings(self) -> Iterator[TargetLayer]:
        try:
            # Serializers may be registered by any app.
            django.setup()
            entries = dict(settings.CHANNEL_LAYERS)
            classes = {alias: import_string(entry["BACKEND"]) for alias, entry in entries.items()}
        except Exception as error:  # settings are a program, and may raise anything
            text = f"the settings fail: {type(error).__name__}: {error}"
            raise CommandError(text, returncode=NOT_WORKING) from error
        found = [
            (doctor, f"CHANNEL_LAYERS[{alias!r}]", cls, entries[alias].get("CONFIG", {}))
            for alias, cls in classes.items()
            for doctor in self.doctors
            if isinstance(cls, type) and issubclass(cls, doctor.layer_class)
        ]
        if not found:
            wanted = " or ".join(doctor.layer_class.__name__ for doctor in self.doctors)
            raise CommandError(f"CHANNEL_LAYERS has no {wanted}", returncode=NOT_WORKING)
        for arguments in found:
            yield _target(*arguments)


def run(package: str, *doctors: Any) -> None:
    """Run a command with the arguments of the process, and exit with its status.

    Args:
        package: The import name of the package whose command this is.
        doctors: As for `DoctorCommand`.
    """
    command = DoctorCommand()
    command.doctors = doctors
    command.run_from_argv(["python", f"-m {package}", *sys.argv[1:]])


def _target(doctor: LayerDoctor, title: str, cls: Any, config: Any) -> TargetLayer:
    try:
        cls(**config)
    except (TypeError, ValueError) as error:
        raise CommandError(f"{title}: {error}", returncode=NOT_WORKING) from error
    return TargetLayer(doctor, title, partial(cls, **config))


async def diagnose(layers: Sequence[TargetLayer]) -> list[Section]:
    """Return the findings about layers."""
    sections: list[Section] = []
    for one in layers:
        sections += await one.doctor.diagnose(one.title, one.make)
    return sections


async def overviews(layers: Sequence[TargetLayer]) -> list[dict[str, Any]]:
    """Return what each layer has on its servers.

    Raises:
        CommandError: A server can't be asked.
    """
    found = []
    for one in layers:
        layer = one.make()
        try:
            found.append({"layer": one.title, **await one.doctor.overview(layer)})
        except (RedisError, OSError) as error:
            raise CommandError(shown(str(error)), returncode=NOT_WORKING) from error
        await layer.close_pools()
    return found


def _describe(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"\n{section.title}"
        for one in section.findings:
            # Some of it comes from servers, and might hold control sequences for the terminal.
            yield f"  {one.level.name.lower():<8} {one.subject:<14} {shown(one.text)}"
            if one.advice:
                yield f"{'':>25} -> {one.advice}"
