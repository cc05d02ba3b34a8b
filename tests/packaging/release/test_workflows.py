"""What the workflows may do. Their other rules are zizmor's: `hatch run lint:workflows`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from releasing import __main__ as command_line
from releasing import building
from releasing.packages import read_toml
from support.builds import PACKAGES, REPOSITORY, run

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
}
RELEASE = WORKFLOWS["release.yml"]
# What comes before hatch, or decides about jobs; it needs GitHub's runners, and is nothing of ours.
PREPARATION = re.compile(
    r"python -m pip install -q (hatch|--require-hashes -r \S+)|sudo .+|test .+"
)
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
    lines = commands(workflow)
    named = [line.split()[2] for line in lines if line.startswith("hatch run ")]
    named += [f"release:{line.split()[3]}" for line in lines if "python -m releasing " in line]
    checks = WORKFLOWS["ci.yml"]["jobs"]["checks"]["strategy"]["matrix"]["check"]
    if "$CHECK" not in named:
        return named
    return [name for name in named if name != "$CHECK"] + [check.split()[0] for check in checks]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_workflows_run_hatch_commands(workflow: str) -> None:
    """All that a workflow does is a command of hatch or in a script of it, and runs anywhere."""
    lines = [line for line in commands(workflow) if not PREPARATION.fullmatch(line)]
    assert lines
    command = re.compile(r"hatch (?:run|test)\b|python -m releasing\b")
    assert [line for line in lines if not command.match(line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_scripts_are_there(workflow: str) -> None:
    """Each script that a workflow names is one in hatch.toml."""
    for name in scripts(workflow):
        environment, _, script = name.rpartition(":")
        assert script in ENVIRONMENTS[environment or "default"]["scripts"]


def test_only_the_publishing_job_has_a_right_to_publish() -> None:
    """One job may ask for PyPI's token, may do nothing else, and runs no code of ours.

    It publishes what was built, though the jobs between might have put something in its place.
    """
    permissions = {name: job["permissions"] for name, job in RELEASE["jobs"].items()}
    assert permissions == {
        "build": {"contents": "read"},
        "test": {"contents": "read"},
        "publish": {"id-token": "write"},
    }
    steps = RELEASE["jobs"]["publish"]["steps"]
    assert [step.get("uses", step.get("run")).split("@")[0] for step in steps] == [
        "actions/download-artifact",
        'test "$(sha256sum -- *)" = "$HASHES"',
        "pypa/gh-action-pypi-publish",
    ]
    assert steps[-1]["with"]["attestations"] is True


def test_what_builds_is_pinned() -> None:
    """The job that builds runs no program of others that is not pinned by its hash."""
    runs = [step["run"] for step in RELEASE["jobs"]["build"]["steps"] if "run" in step]
    install, *rest = runs
    *words, file = install.split()
    assert words == ["python", "-m", "pip", "install", "-q", "--require-hashes", "-r"]
    assert all(run.startswith("python -m releasing ") for run in rest)
    pinned = (REPOSITORY / file).read_text(encoding="utf-8")
    assert set(re.findall(r"^([\w-]+)==", pinned, re.MULTILINE)) >= {"packaging", "uv"}


def test_hashes_of_what_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next jobs learn what was built in the form in which sha256sum prints it."""
    files = [tmp_path / name for name in ("a-1.0-py3-none-any.whl", "a-1.0.tar.gz")]
    for file in files:
        file.write_bytes(file.name.encode())
    outputs = tmp_path.parent / f"{tmp_path.name}-outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setattr(building, "build", lambda *_: files)
    monkeypatch.setattr(sys, "argv", ["releasing", "build", "channels-redis"])
    assert command_line.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == len(files)
    name, *lines, end = outputs.read_text().splitlines()
    assert (name, end) == ("hashes<<END", "END")
    checked = run(
        "bash", "-c", 'test "$(sha256sum -- *)" = "$1"', "-", "\n".join(lines), cwd=tmp_path
    )
    assert checked.returncode == 0, checked


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
