"""Commands of guides and workflows, and permissions; `hatch run lint:workflows` has more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from support.builds import PACKAGES, REPOSITORY, read_toml, run, run_ok

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GITHUB = REPOSITORY / ".github"
CI, RELEASE = (
    yaml.safe_load((GITHUB / "workflows" / name).read_text()) for name in ("ci.yml", "release.yml")
)
ENVIRONMENTS = read_toml(REPOSITORY / "hatch.toml")["envs"]


def test_scripts_are_there() -> None:
    """Each script of hatch that a guide or a workflow names is one in hatch.toml."""
    texts = [path.read_text() for path in (*GITHUB.glob("*.md"), *GITHUB.glob("workflows/*.yml"))]
    named = re.findall(r"hatch run ([a-z][a-z:-]+)", "".join(texts))
    assert len(named) > len(texts)
    for name in named:
        environment, _, script = name.rpartition(":")
        assert script in ENVIRONMENTS[environment or "default"]["scripts"], name


def test_workflow_runs_each_step_of_the_local_check() -> None:
    """Pull requests require the same steps as a contributor's machine."""
    script = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    found = re.findall(r"^(?:STEPS|BY_NAME)=\((.+)\)$", script, re.MULTILINE)
    steps = " ".join(found)
    jobs = CI["jobs"]
    assert {"tests", "versions", *jobs["checks"]["strategy"]["matrix"]["step"]} == {*steps.split()}
    assert jobs["tests"]["steps"][-1] == {"run": "bash .ci/run tests"}
    assert {*jobs["passed"]["needs"]} == {*jobs} - {"passed"}


def test_what_may_publish() -> None:
    """One job may ask for PyPI's token, after the tests, on the tag of a package.

    It runs no code of ours, and publishes what was built.
    """
    # YAML 1.1 takes the key `on` for true.
    assert RELEASE[True]["push"]["tags"] == [f"{package}-v*" for package in PACKAGES]
    permissions = {name: job["permissions"] for name, job in RELEASE["jobs"].items()}
    contents = {"contents": "read"}
    assert permissions == {"build": contents, "test": contents, "publish": {"id-token": "write"}}
    publish = RELEASE["jobs"]["publish"]
    assert publish["needs"] == ["build", "test"]
    assert [step.get("uses", step.get("run")).split("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        'test "$(sha256sum -- *)" = "$HASHES"',
        "pypa/gh-action-pypi-publish",
    ]
    assert publish["steps"][-1]["with"]["attestations"] is True


def test_hashes_of_what_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publishing job accepts what was built, and nothing else in its place."""
    (note,) = (step for step in RELEASE["jobs"]["build"]["steps"] if step.get("id") == "build")
    check = ("bash", "-ec", RELEASE["jobs"]["publish"]["steps"][1]["run"])
    dist, outputs = tmp_path / "dist", tmp_path / "outputs"
    dist.mkdir()
    for name in ("a-1.0-py3-none-any.whl", "a-1.0.tar.gz"):
        (dist / name).write_text(name)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    run_ok("bash", "-ec", note["run"], cwd=dist)
    first, *lines, last = outputs.read_text().splitlines()
    assert (first, last) == ("hashes<<END", "END")
    monkeypatch.setenv("HASHES", "\n".join(lines))
    run_ok(*check, cwd=dist)
    (dist / "a-1.0.tar.gz").write_text("something else")
    assert run(*check, cwd=dist).returncode == 1
