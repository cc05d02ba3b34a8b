"""A site's ``manage.py runworker images mails``, ended as by Ctrl-C when the test stops it.

Its arguments are the layer's `backend` and `config`. It tells, as its last message, what it heard
of warnings, of errors in its log, and of uncaught exceptions.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management import execute_from_command_line

from conformance import consumers
from support.worker import arguments, reply

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

complaints: list[str] = []


class Complaints(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record's text."""
        complaints.append(self.format(record))


def keep_unraisable(unraisable: UnraisableHookArgs) -> None:
    """Keep an exception out of a finalizer, ResourceWarning among them."""
    complaints.append(repr(unraisable.exc_value))


def interrupt_when_the_test_stops() -> None:
    """Wait for the end of the test's requests, then do what Ctrl-C does."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # Not amid a synchronous handler: its thread would wait endlessly for the loop that has ended.
    with consumers.Mails.at_work:
        os.kill(os.getpid(), signal.SIGINT)


# Not all warnings: Channels itself causes one of asgiref's for each synchronous consumer.
warnings.simplefilter("error", ResourceWarning)
warnings.simplefilter("error", RuntimeWarning)
logging.getLogger().addHandler(Complaints(logging.WARNING))
sys.unraisablehook = keep_unraisable
threading.Thread(target=interrupt_when_the_test_stops, daemon=True).start()
layer = {"BACKEND": arguments()["backend"], "CONFIG": arguments()["config"]}
settings.configure(
    ASGI_APPLICATION="conformance.consumers.application",
    CHANNEL_LAYERS={"default": layer},
    INSTALLED_APPS=["channels"],
    LOGGING_CONFIG=None,
    SECRET_KEY="for a test",
)
execute_from_command_line(["manage.py", "runworker", "images", "mails"])
gc.collect()
reply(complaints=complaints)
