"""Command line of the release tools: ``python -m releasing --help``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import building, fragments, preparing, tags, wheels
from .consistency import find_problems
from .packages import ReleaseError, find_packages, get_package

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="releasing", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    prepare = command("prepare", "Raise the version, build the changelog, commit and tag.")
    prepare.add_argument("package")
    prepare.add_argument("step", choices=preparing.STEPS, help="the part of the version to raise")
    prepare.add_argument("--dry-run", action="store_true", help="only say what it would do")

    check = command("fragments", "Say which changelog fragments a change lacks.")
    check.add_argument("--since", default="origin/main", help="where the change began")

    tag = command("check-tag", "Say whether a tag names what is in the tree.")
    tag.add_argument("tag")
    tag.add_argument("--branch", default="origin/main", help="where releases are made from")

    build = command("build", "Build the sdist and the wheel of packages into dist/<package>.")
    build.add_argument("package", nargs="*", help="all of them, by default")

    test = command("test-wheels", "Run the tests on wheels, with the source removed.")
    test.add_argument("package", nargs="*", help="packages whose wheel in dist/ is to be tested")
    test.add_argument("--pytest", nargs=argparse.REMAINDER, default=[], help="arguments for pytest")

    command("consistency", "Say whether versions, ranges and classifiers fit together.")
    return parser


def run(arguments: argparse.Namespace, root: Path = ROOT) -> str:
    """Do what the command line says; return what to print.

    Raises:
        ReleaseError: It can't be done, or something was found that has to be changed.
    """
    actions: dict[str, Callable[[], str]] = {
        "prepare": lambda: _prepare(root, arguments),
        "fragments": lambda: fragments.check_fragments(root, arguments.since),
        "consistency": lambda: _check_consistency(root),
        "check-tag": lambda: _check_tag(root, arguments.tag, arguments.branch),
        "build": lambda: _build(root, arguments.package),
        "test-wheels": lambda: _test_wheels(root, arguments),
    }
    return actions[arguments.command]()


def _prepare(root: Path, arguments: argparse.Namespace) -> str:
    plan = preparing.plan_release(root, arguments.package, arguments.step)
    return preparing.describe(plan) if arguments.dry_run else preparing.make_release(plan)


def _check_consistency(root: Path) -> str:
    if problems := find_problems(root):
        raise ReleaseError("\n".join(problems))
    return "Versions, ranges and classifiers fit together."


def _test_wheels(root: Path, arguments: argparse.Namespace) -> str:
    built = [get_package(root, name).name for name in arguments.package]
    wheels.test_wheels(root, built, root / "dist", arguments.pytest)
    return "The wheels passed."


def _check_tag(root: Path, tag: str, branch: str) -> str:
    package = tags.check_tag(root, tag, branch)
    _put_out(f"package={package.name}\nversion={package.version}\n")
    return f"{tag}: {package.name} is {package.version}, and its changelog says so."


def _build(root: Path, names: list[str]) -> str:
    packages = [get_package(root, name) for name in names or find_packages(root)]
    built = [building.build(package, root / "dist" / package.name) for package in packages]
    hashes = "\n".join(building.hash_line(file) for files in built for file in files)
    _put_out(f"hashes<<END\n{hashes}\nEND\n")
    return "\n".join(map(building.describe, built))


def _put_out(text: str) -> None:
    """Write where later jobs of the workflow read; do nothing elsewhere."""
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.write(text)


def main() -> int:
    """Run the command line; return the exit status."""
    try:
        print(run(make_parser().parse_args()))
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
