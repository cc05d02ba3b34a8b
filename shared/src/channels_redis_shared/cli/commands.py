"""The command line: arguments, the layers that they name, and the output."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import click
from redis.exceptions import RedisError
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..ops.logs import shown
from .doctor import NOT_WORKING, Diagnosis, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    from .doctor import LayerDoctor, LayerOverview, Section

# Rows of each table of `stats`.
MAX_ROWS = 20
# Columns of the output if it is no terminal.
WIDTH = 100
# Each doctor reports those of its own package.
_DEPENDENCIES = (
    "channels-redis",
    "channels",
    "Django",
    "redis",
    "hiredis",
    "msgpack",
    "cryptography",
)
_LEVEL_TEXTS = {
    Level.OK: Text("ok", "green"),
    Level.NOTE: Text("note", "cyan"),
    Level.WARNING: Text("warning", "yellow"),
    Level.ERROR: Text("error", "bold red"),
}
_STATUS_TEXTS = {
    0: Text("All is well.", "green"),
    1: Text("It works, with warnings: each says what to change.", "yellow"),
    2: Text("It does not work: each error says what to change.", "bold red"),
}


@dataclass(frozen=True)
class TargetLayer:
    """A layer to examine, its title, its options, and the doctor of its package."""

    doctor: LayerDoctor
    title: str
    layer: Any
    config: Mapping[str, Any]


def run_command(
    package: str,
    doctors: Sequence[LayerDoctor],
    arguments: Sequence[str] | None,
    *,
    in_django: bool,
) -> int:
    """Run the command that the arguments name and return the exit status; see `app.run`."""
    program = f"manage.py {package}" if in_django else f"python -m {package}"
    commands = _define_commands(doctors, program, in_django=in_django)
    try:
        status = commands.main(arguments, program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return NOT_WORKING
    except click.Abort:
        return NOT_WORKING
    return status if isinstance(status, int) else 0


def _define_commands(
    doctors: Sequence[LayerDoctor], program: str, *, in_django: bool
) -> click.Group:
    add_layer_options = _add_json_option if in_django else _add_layer_options
    epilog = "" if in_django else "URLs are the hosts of one layer: redis://localhost:6379 if none."

    @click.group(context_settings={"help_option_names": ["-h", "--help"]})
    def commands() -> None:
        """Look at a channel layer and its servers."""

    @commands.command(epilog=epilog)
    @add_layer_options
    def doctor(as_json: bool, **choice: Any) -> int:  # noqa: FBT001 - click passes names
        """Say what is wrong, and what to change.

        Connects to the servers, looks at their settings, and passes test messages. Exits with 0,
        with 1 if there are warnings, with 2 if something does not work.
        """
        diagnosis = asyncio.run(diagnose(doctors, _choose_layers(doctors, program, **choice)))
        if as_json:
            click.echo(json.dumps(diagnosis.as_dict(), indent=2, ensure_ascii=False))
        else:
            _new_console().print(_render_diagnosis(diagnosis))
        return diagnosis.status

    @commands.command(epilog=epilog)
    @add_layer_options
    @click.option("--watch", is_flag=True, help="Repeat it until Ctrl-C.")
    @click.option(
        "--interval", type=click.FloatRange(min=0.1), default=2.0, help="Seconds between two looks."
    )
    def stats(as_json: bool, watch: bool, interval: float, **choice: Any) -> int:  # noqa: FBT001
        """Show a layer's channels, waiting messages, groups and members."""
        layers = _choose_layers(doctors, program, **choice)
        try:
            asyncio.run(_show_overviews(layers, interval if watch else None, as_json=as_json))
        except KeyboardInterrupt:
            return 0
        except BrokenPipeError:  # of the output, which click knows
            raise
        except (RedisError, OSError) as error:
            text = f"{error}\nAsk the doctor, with the same arguments: {program} doctor"
            click.echo(text, err=True)
            return NOT_WORKING
        return 0

    return commands


def _add_layer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        click.argument("urls", nargs=-1, metavar="[URL]..."),
        click.option("--prefix", help="The layer's prefix, if it is not the default."),
        click.option(
            "--django",
            is_flag=True,
            help="Read CHANNEL_LAYERS of DJANGO_SETTINGS_MODULE.",
        ),
        _add_json_option,
    ):
        command = decorate(command)
    return command


def _add_json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
    return option(command)


def _choose_layers(
    doctors: Sequence[LayerDoctor],
    program: str,
    *,
    urls: Sequence[str] = (),
    prefix: str | None = None,
    django: bool = True,
) -> list[TargetLayer]:
    if not django:
        return layers_at(doctors, urls, prefix)
    if urls or prefix is not None:
        raise click.UsageError("--django reads everything from the settings: leave out the rest")
    return _layers_in_settings(doctors, program)


def layers_at(
    doctors: Sequence[LayerDoctor], urls: Sequence[str], prefix: str | None = None
) -> list[TargetLayer]:
    """Return a layer of each package with these hosts and prefix, or the defaults.

    Raises:
        click.UsageError: They are not valid.
    """
    config: dict[str, Any] = {"hosts": list(urls)} if urls else {}
    if prefix is not None:
        config["prefix"] = prefix
    return [
        TargetLayer(one, one.layer_class.__name__, _make_layer(one.layer_class, config), config)
        for one in doctors
    ]


def _layers_in_settings(doctors: Sequence[LayerDoctor], program: str) -> list[TargetLayer]:
    module = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not module:
        raise click.UsageError(
            "--django reads the settings of your project: set DJANGO_SETTINGS_MODULE, as in "
            f"DJANGO_SETTINGS_MODULE=shop.settings {program} doctor --django, "
            "and run it where manage.py is"
        )
    import django  # noqa: PLC0415 - only here is it needed
    from django.conf import settings  # noqa: PLC0415
    from django.utils.module_loading import import_string  # noqa: PLC0415

    try:
        # Serializers may be registered by any app.
        django.setup()
        entries = dict(settings.CHANNEL_LAYERS)
        classes = {alias: import_string(entry["BACKEND"]) for alias, entry in entries.items()}
    except Exception as error:  # settings are a program, and may raise anything
        raise click.UsageError(
            f"the settings {module!r} can't be used: {type(error).__name__}: {error}"
        ) from error
    layers = []
    for alias, cls in classes.items():
        for doctor in doctors:
            if isinstance(cls, type) and issubclass(cls, doctor.layer_class):
                config = entries[alias].get("CONFIG", {})
                layer = _make_layer(cls, config, f"CHANNEL_LAYERS[{alias!r}]: ")
                title = f"{alias!r}, a {cls.__name__}"
                layers.append(TargetLayer(doctor, title, layer, config))
    if not layers:
        wanted = " or ".join(doctor.layer_class.__name__ for doctor in doctors)
        names = sorted(f"{cls.__module__}.{cls.__qualname__}" for cls in classes.values())
        raise click.UsageError(
            f"CHANNEL_LAYERS has no {wanted}, only {', '.join(names) or 'an empty dict'}: use the "
            "command of that layer's package"
        )
    return layers


def _make_layer(cls: type[Any], config: Mapping[str, Any], where: str = "") -> Any:
    try:
        return cls(**config)
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"{where}{error}") from error


async def diagnose(doctors: Sequence[LayerDoctor], layers: Sequence[TargetLayer]) -> Diagnosis:
    """Examine layers, and find the versions of what is installed."""
    versions = {"Python": platform.python_version()}
    versions.update((doctor.package, doctor.version()) for doctor in doctors)
    for name in _DEPENDENCIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    sections: list[Section] = []
    for one in layers:
        sections += await one.doctor.diagnose(one.title, one.layer, one.config)
    return Diagnosis(sections, versions)


async def _show_overviews(
    layers: Sequence[TargetLayer], interval: float | None, *, as_json: bool
) -> None:
    console = _new_console()
    # A terminal is redrawn; elsewhere one table follows the other.
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        while True:
            overviews = [
                (one.title, await one.doctor.overview(one.layer, MAX_ROWS)) for one in layers
            ]
            tables = Group(*(_render_overview(title, one) for title, one in overviews))
            if as_json:
                click.echo(
                    json.dumps([{"layer": title, **asdict(one)} for title, one in overviews])
                )
            elif live is not None:
                live.update(tables, refresh=True)
            else:
                console.print(tables)
            if interval is None:
                break
            await asyncio.sleep(interval)
    for one in layers:
        await one.layer.close_pools()


def _new_console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def _render_diagnosis(diagnosis: Diagnosis) -> RenderableType:
    versions = "\n".join(f"{name} {number}" for name, number in diagnosis.versions.items())
    return Group(
        *map(_render_section, diagnosis.sections),
        Text("For a bug report:", "bold"),
        Text(versions),
        Text(),
        _STATUS_TEXTS[diagnosis.status],
    )


def _render_section(section: Section) -> Table:
    table = Table(box=box.SIMPLE, show_header=False, title_justify="left", expand=True)
    table.title = Text(shown(section.title), "bold")
    table.add_column(width=7)
    table.add_column(min_width=14)
    table.add_column(ratio=1)
    for finding in section.findings:
        # Some of it comes from servers, and might hold control sequences for the terminal.
        text = Text("\n".join(map(shown, finding.text.splitlines())))
        if finding.advice:
            text.append("\n→ " + finding.advice, "bold")
        table.add_row(_LEVEL_TEXTS[finding.level], Text(finding.subject), text)
    return table


def _render_overview(title: str, overview: LayerOverview) -> RenderableType:
    """Return tables of a layer's channels and groups, the largest first."""
    waiting = [count for count in overview.channels.values() if count is not None]
    channels = Table("channel", box=box.SIMPLE_HEAD, title_justify="left")
    channels.title = Text(f"{len(overview.channels)} channels", "bold")
    if waiting or not overview.channels:
        channels.add_column("waiting messages", justify="right")
        channels.title.append(f", {sum(waiting)} waiting messages")
    if overview.foreign:
        channels.title.append(f", {overview.foreign} names that are not the layer's")
    by_size = sorted(overview.channels.items(), key=lambda item: (-(item[1] or 0), item[0]))
    for name, count in by_size[:MAX_ROWS]:
        channels.add_row(Text(name), *([] if count is None else [str(count)]))
    groups = Table("group", box=box.SIMPLE_HEAD, title_justify="left")
    groups.title = Text(f"{overview.groups} groups", "bold")
    groups.add_column("processes", justify="right")
    groups.add_column("members", justify="right")
    if any(group.people is not None for group in overview.largest_groups):
        groups.add_column("people", justify="right")
        groups.add_column("connections", justify="right")
    for group in overview.largest_groups:
        row = [group.members]
        if group.people is not None:
            row += group.people, group.connections
        counts = ["unknown" if count is None else str(count) for count in row]
        groups.add_row(Text(group.name), str(group.processes), *counts)
    return Group(Text(shown(title), "bold"), channels, groups)
