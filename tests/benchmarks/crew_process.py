"""A process of a crew: it makes an object, and does what it is called for."""

from __future__ import annotations

import asyncio
import importlib

from benchmarks.survey.trial import Job
from support.worker import answer_calls, arguments


async def main() -> None:
    """Use the object until no more calls come."""
    given = arguments()
    module, _, name = given["what"].partition(".")
    made = getattr(importlib.import_module(f"benchmarks.survey.{module}"), name)
    async with made(Job(**given["job"]), *given["share"]) as process:
        await answer_calls(process, Ready())


class Ready:
    """Answers when the object has been entered."""

    async def ready(self) -> None:
        """Do nothing."""


if __name__ == "__main__":
    if arguments()["job"]["work"] == "sockets":
        importlib.import_module("uvloop").install()
    asyncio.run(main())
