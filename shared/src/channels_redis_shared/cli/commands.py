"""The command line: its arguments, and what is printed."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from redis.exceptions import RedisError
from rich.console import Group
from rich.live import Live

from .choosing import NothingToExamineError, from_django, from_urls
from .doctor import diagnose
from .starting import NOT_WORKING
from .tables import new_console, shown_diagnosis, shown_overview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .subject import Examined, Overview, Subject

# Rows of each table of `stats`.
MOST_ROWS = 20


def run(subject: Subject) -> int:
    """Run the command that the process's arguments name; return the exit status."""
    name = f"python -m {subject.package}"
    try:
        status = _commands(subject).main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return NOT_WORKING
    except click.Abort:
        return NOT_WORKING
    return status if isinstance(status, int) else 0


def _commands(subject: Subject) -> click.Group:
    """Return the commands for a package."""

    @click.group(context_settings={"help_option_names": ["-h", "--help"]})
    def commands() -> None:
        """Look at a channel layer and its servers."""

    @commands.command()
    @_choosing
    def doctor(urls: Sequence[str], prefix: str | None, *, django: bool, as_json: bool) -> int:
        """Say what is wrong, and what to change.

        Connects to the servers at URLs, the hosts of one layer (default: redis://localhost:6379),
        looks at their settings, and passes test messages. Exits with 0, with 1 if there are
        warnings, with 2 if something does not work.
        """
        return _doctor(subject, _chosen(subject, urls, prefix, django=django), as_json=as_json)

    @commands.command()
    @_choosing
    @click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
    @click.option(
        "--interval", type=click.FloatRange(min=0.1), default=2.0, help="Seconds in between."
    )
    def stats(  # noqa: PLR0913 - the options
        urls: Sequence[str],
        prefix: str | None,
        *,
        django: bool,
        as_json: bool,
        watch: bool,
        interval: float,
    ) -> int:
        """Show a layer's channels, waiting messages, groups and members.

        URLs are the hosts of one layer (default: redis://localhost:6379).
        """
        layers = _chosen(subject, urls, prefix, django=django)
        return _stats(subject, layers, interval if watch else None, as_json=as_json)

    return commands


def _choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments that say which layers to look at, and how to show them."""
    for decorate in (
        click.argument("urls", nargs=-1, metavar="[URL]..."),
        click.option("--prefix", help="The prefix of the layer, if it has one of its own."),
        click.option(
            "--django", is_flag=True, help="Read CHANNEL_LAYERS of DJANGO_SETTINGS_MODULE."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines."),
    ):
        command = decorate(command)
    return command


def _chosen(
    subject: Subject, urls: Sequence[str], prefix: str | None, *, django: bool
) -> list[Examined]:
    if django and (urls or prefix is not None):
        raise click.UsageError("--django reads everything from the settings: leave out the rest")
    try:
        return from_django(subject) if django else from_urls(subject, urls, prefix)
    except NothingToExamineError as error:
        raise click.UsageError(str(error)) from error


def _doctor(subject: Subject, layers: Sequence[Examined], *, as_json: bool) -> int:
    diagnosis = asyncio.run(diagnose(subject, layers))
    if as_json:
        click.echo(json.dumps(diagnosis.as_dict(), indent=2, ensure_ascii=False))
    else:
        new_console().print(shown_diagnosis(diagnosis))
    return diagnosis.status


def _stats(
    subject: Subject, layers: Sequence[Examined], interval: float | None, *, as_json: bool
) -> int:
    try:
        asyncio.run(_show(subject, layers, interval, as_json=as_json))
    except KeyboardInterrupt:
        return 0
    except (RedisError, OSError) as error:
        click.echo(f"{error}\nAsk the doctor: python -m {subject.package} doctor", err=True)
        return NOT_WORKING
    return 0


async def _show(
    subject: Subject, layers: Sequence[Examined], interval: float | None, *, as_json: bool
) -> None:
    console = new_console()
    # A screen that is drawn over and over; elsewhere one table stands below the other.
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        while True:
            seen = [(one.title, await subject.overview(one.layer, MOST_ROWS)) for one in layers]
            tables = Group(*(shown_overview(title, found, MOST_ROWS) for title, found in seen))
            if as_json:
                click.echo(_as_json(seen))
            elif live is not None:
                live.update(tables, refresh=True)
            else:
                console.print(tables)
            if interval is None:
                break
            await asyncio.sleep(interval)
    for one in layers:
        await one.layer.close_pools()


def _as_json(seen: Sequence[tuple[str, Overview]]) -> str:
    return json.dumps([{"layer": title, **asdict(found)} for title, found in seen])
