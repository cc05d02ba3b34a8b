"""Start the commands, from `python -m` and from `manage.py`, if the extra [cli] is installed."""

from __future__ import annotations

import sys
from argparse import REMAINDER
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand

from .doctor import NOT_WORKING

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence


def run(
    package: str,
    doctors: Sequence[Any],
    arguments: Sequence[str] | None = None,
    *,
    in_django: bool = False,
) -> int:
    """Run a command and return the exit status.

    Args:
        package: The import name of the package whose command this is.
        doctors: The `LayerDoctor` of each package whose layers to examine, which has another base
            class in each package.
        arguments: Those of the process by default.
        in_django: Whether `manage.py` runs it: then the settings name the layers.
    """
    try:
        from .commands import run_command  # noqa: PLC0415 - it imports what may be missing
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich"}:
            raise
        sys.stderr.write(
            f"This command needs {missing}, which is not installed: "
            f'run pip install "{package.replace("_", "-")}[cli]"\n'
        )
        return NOT_WORKING
    return run_command(package, doctors, arguments, in_django=in_django)


class DoctorCommand(BaseCommand):  # type: ignore[misc]  # Django has no type hints
    """Run `doctor` and `stats` for the layers in CHANNEL_LAYERS.

    Attributes:
        package: The import name of the package.
        doctors: As for `run`.
    """

    help = "Look at the layers in CHANNEL_LAYERS and their servers, with doctor or stats."
    # The doctor must run on settings that a check rejects.
    requires_system_checks = ()
    package: str
    doctors: Sequence[Any]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Leave all that follows to the command itself."""
        parser.add_argument(
            "arguments",
            nargs=REMAINDER,
            metavar="doctor | stats",
            help="Options follow; see doctor --help and stats --help.",
        )

    def handle(self, *, arguments: Sequence[str], **_: Any) -> None:
        """Run the command; exit with its status unless all is well."""
        status = run(self.package, self.doctors, arguments, in_django=True)
        if status:
            sys.exit(status)
