"""What the workflows may do. Their other rules are zizmor's: `hatch run lint:workflows`."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from builds import PACKAGES, REPOSITORY
from releasing.packages import read_toml

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
}
RELEASE = WORKFLOWS["release.yml"]
# What comes before hatch, or decides about jobs; it needs GitHub's runners, and is nothing of ours.
PREPARATION = re.compile(r"python -m pip install -q hatch|sudo .+|test .+")
ENVIRONMENTS = read_toml(REPOSITORY / "hatch.toml")["envs"]


def commands(workflow: str) -> list[str]:
    """Return every line that a workflow runs."""
    return [
        line.strip()
        for job in WORKFLOWS[workflow]["jobs"].values()
        for step in job["steps"]
        for line in step.get("run", "").splitlines()
    ]


def scripts(workflow: str) -> list[str]:
    """Return every script of hatch that a workflow runs, those in a matrix too."""
    named = [line.split()[2] for line in commands(workflow) if line.startswith("hatch run ")]
    checks = WORKFLOWS["ci.yml"]["jobs"]["checks"]["strategy"]["matrix"]["check"]
    if "$CHECK" not in named:
        return named
    return [name for name in named if name != "$CHECK"] + [check.split()[0] for check in checks]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_workflows_run_hatch_commands(workflow: str) -> None:
    """All that a workflow does is a command of hatch, which runs anywhere."""
    lines = [line for line in commands(workflow) if not PREPARATION.fullmatch(line)]
    assert lines
    assert [line for line in lines if not re.match(r"hatch (?:run|test)\b", line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_scripts_are_there(workflow: str) -> None:
    """Each script that a workflow names is one in hatch.toml."""
    for name in scripts(workflow):
        environment, _, script = name.rpartition(":")
        assert script in ENVIRONMENTS[environment or "default"]["scripts"]


def test_only_the_publishing_job_has_a_right_to_publish() -> None:
    """One job may ask for PyPI's token, may do nothing else, and runs no code of ours."""
    permissions = {name: job["permissions"] for name, job in RELEASE["jobs"].items()}
    assert permissions == {
        "build": {"contents": "read"},
        "test": {"contents": "read"},
        "publish": {"id-token": "write"},
    }
    steps = RELEASE["jobs"]["publish"]["steps"]
    assert [step["uses"].split("@")[0] for step in steps] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert steps[-1]["with"]["attestations"] is True


def test_nothing_is_published_untested() -> None:
    """Publishing waits for the tests of what was built."""
    assert RELEASE["jobs"]["publish"]["needs"] == ["build", "test"]
    assert RELEASE["jobs"]["test"]["needs"] == "build"


def test_each_package_is_released_on_its_own_tag() -> None:
    """The tags that start the workflow are those of the packages."""
    # YAML 1.1 takes the key `on` for true.
    assert RELEASE[True]["push"]["tags"] == [f"{package}-v*" for package in PACKAGES]


def test_rights_are_given_to_jobs_only() -> None:
    """No workflow gives all of its jobs a right."""
    given: dict[str, Any] = {name: workflow["permissions"] for name, workflow in WORKFLOWS.items()}
    assert set(map(str, given.values())) == {"{}"}, given


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_to_commits(name: str) -> None:
    """Every action is pinned by a commit's hash, with its version in a comment."""
    text = (REPOSITORY / ".github/workflows" / name).read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.+)", text)
    assert uses
    assert [use for use in uses if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", use)] == []
