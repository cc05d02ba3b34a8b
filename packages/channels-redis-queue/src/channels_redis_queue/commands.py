"""The command of `manage.py`: `work`, besides those that examine layers."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from channels.exceptions import InvalidChannelLayerError
from channels.layers import get_channel_layer
from channels.routing import get_default_application
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError

from ._shared.config.options import checked_int
from .doctor import DoctorCommand
from .layer import RedisChannelLayer
from .worker import Worker

if TYPE_CHECKING:
    from argparse import ArgumentParser


class QueueCommand(DoctorCommand):
    """Run `work`, or a command that examines the layers in CHANNEL_LAYERS."""

    help = (
        "work does the jobs of general channels; its options are in work --help. "
        f"{DoctorCommand.help}"
    )

    def run_from_argv(self, argv: list[str]) -> None:
        """Run a command with the arguments of the process."""
        if argv[2:3] == ["work"]:
            WorkCommand().run_from_argv([argv[0], f"{argv[1]} work", *argv[3:]])
        else:
            super().run_from_argv(argv)


class WorkCommand(BaseCommand):  # type: ignore[misc]  # Django has no type hints
    """Run the consumers of general channels."""

    help = "Do the jobs that general channels get, each in a consumer, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the channels, and how to work on them."""
        parser.add_argument("channels", nargs="+", help="General channels, as in the router.")
        parser.add_argument(
            "--concurrency",
            type=int,
            default=1,
            help="Jobs of each channel at the same time. Default: 1.",
        )
        parser.add_argument(
            "--grace",
            type=float,
            default=25,
            help="Seconds that running jobs have to end after SIGTERM. Default: 25.",
        )
        parser.add_argument(
            "--layer", default="default", help="The layer in CHANNEL_LAYERS. Default: default."
        )

    def handle(self, **options: Any) -> None:
        """Work until a signal ends it.

        Raises:
            CommandError: The arguments, the settings or the routes don't fit.
        """
        layer = _queue_layer(options["layer"])
        channels = dict.fromkeys(options["channels"])
        try:
            concurrency = checked_int("--concurrency", options["concurrency"])
            application = get_default_application()
            for channel in channels:
                _require_general(layer, channel)
        except (ImproperlyConfigured, TypeError, ValueError) as error:
            raise CommandError(str(error)) from error
        names = ", ".join(channels)
        self.stdout.write(f"Working on {names}, {concurrency} at a time. Ctrl-C ends it.")
        self.stdout.flush()
        worker = Worker(application, layer, channels, concurrency, options["grace"])
        try:
            done = asyncio.run(worker.run())
        except ValueError as error:
            # Channels' routers raise it.
            raise CommandError(str(error)) from error
        if not done:
            # A thread can't be interrupted: it would continue a job that another worker now has.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(1)


def _queue_layer(alias: str) -> RedisChannelLayer:
    try:
        layer = get_channel_layer(alias)
    except InvalidChannelLayerError:
        layer = None
    if layer is None:
        raise CommandError(f"CHANNEL_LAYERS has no {alias!r}, or no BACKEND for it")
    if not isinstance(layer, RedisChannelLayer):
        raise CommandError(
            f"CHANNEL_LAYERS[{alias!r}] is {type(layer).__name__}, and work needs a "
            "RedisChannelLayer, which gives each job to one worker: configure one, and name it "
            "with --layer"
        )
    return layer


def _require_general(layer: RedisChannelLayer, channel: str) -> None:
    layer.require_valid_channel_name(channel)
    if "!" in channel:
        raise ValueError(f"{channel!r} is the channel of a process: a worker reads general ones")
