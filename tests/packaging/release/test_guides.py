"""Files and commands that the guides for contributors mention exist."""

from __future__ import annotations

import re

import pytest
import yaml

from support.builds import PACKAGES, REPOSITORY, read_toml

GITHUB = REPOSITORY / ".github"
GUIDES = ("CONTRIBUTING.md", "PULL_REQUEST_TEMPLATE.md")


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_are_there(guide: str) -> None:
    """Each script of hatch that a guide names is one in hatch.toml."""
    environments = read_toml(REPOSITORY / "hatch.toml")["envs"]
    named = re.findall(r"hatch run ([a-z:-]+)", (GITHUB / guide).read_text(encoding="utf-8"))
    assert named
    for name in named:
        environment, _, script = name.rpartition(":")
        assert script in environments[environment or "default"]["scripts"], name


def test_examples_of_tests_choose_some() -> None:
    """Each example of `hatch test` names tests that exist, and a word that one's name has."""
    text = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")
    examples = re.findall(r"hatch test (tests/\S+) -k (\w+)", text)
    assert examples
    for place, word in examples:
        path = REPOSITORY / place
        sources = [path] if path.is_file() else sorted(path.glob("test_*.py"))
        assert any(
            re.search(rf"def test_\w*{word}", source.read_text(encoding="utf-8"))
            for source in sources
        ), place


def test_every_type_of_fragment_is_explained() -> None:
    """The guide names all types that a fragment may have."""
    text = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, _, section = text.partition("\n## Write a changelog fragment\n")
    types = read_toml(REPOSITORY / "pyproject.toml")["tool"]["towncrier"]["type"]
    assert [one["directory"] for one in types if f"`{one['directory']}`" not in section] == []


def test_paths_in_the_guide_are_there() -> None:
    """Each file and folder of this repository that the guide names exists."""
    text = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\.ci|\.github|packages|shared)(?:/[\w.-]+)*)`", text)
    assert len(named) > len(PACKAGES)
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("folder", [*(f"packages/{package}" for package in PACKAGES), "shared"])
def test_each_package_has_owners(folder: str) -> None:
    """The code owners of each package are named, and its folder is spelt right."""
    lines = (GITHUB / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    owners = {line.split()[0]: line.split()[1:] for line in lines if line and line[0] != "#"}
    assert owners[f"/{folder}/"]
    assert [path for path in owners if not (REPOSITORY / path.strip("/*")).exists()] == []


def test_bug_form_asks_for_every_version() -> None:
    """The form for bugs insists on the versions of the layers, of redis-py and of the server."""
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8"))
    required = {
        field["id"] for field in form["body"] if field.get("validations", {}).get("required")
    }
    assert {"layer", "versions", "server", "topology", "settings"} <= required
