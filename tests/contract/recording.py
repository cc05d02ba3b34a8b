"""A plugin of pytest that writes down which test of the contract passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the layer, and the file for its outcomes."""
    parser.addoption("--layer", default="queue", help="a name in contract.layers")
    parser.addoption("--outcomes", type=Path, help="the file for the outcomes, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of the conformance tests."""
    config.addinivalue_line("markers", "needs(*capabilities): what the layer must be able to do")
    config.pluginmanager.register(Recorder(config), "contract-recorder")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note at each test what it checks."""
    for item in items:
        marks = list(item.iter_markers("promise"))
        if not marks:
            raise pytest.UsageError(f"{item.name} has no @checks(Promise…)")
        item.user_properties.append(("promise", marks[0].args[0].name))


def pytest_collection_finish(session: pytest.Session) -> None:
    """With ``--collect-only``, write all tests as ones that have not ended."""
    file = session.config.getoption("--outcomes")
    if file and session.config.getoption("--collect-only"):
        tests = [
            {
                "id": item.nodeid,
                "outcome": "failed",
                "why": "it ended its process",
                **{name: str(value) for name, value in item.user_properties},
            }
            for item in session.items
        ]
        file.write_text(json.dumps(tests), encoding="utf-8")


class Recorder:
    """Gathers the outcomes, also those of the processes of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._told: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of a test's set-up and call; its clean-up is not the contract's."""
        if report.when == "teardown":
            return
        told = self._told.setdefault(report.nodeid, {"id": report.nodeid, "outcome": "passed"})
        told.update(dict(report.user_properties))
        if report.outcome != "passed":
            told["outcome"] = report.outcome
            told["why"] = reason(report)

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        file = self._config.getoption("--outcomes")
        is_worker = hasattr(self._config, "workerinput")
        if file and not is_worker and not self._config.getoption("--collect-only"):
            file.write_text(json.dumps(list(self._told.values())), encoding="utf-8")


def reason(report: pytest.TestReport) -> str:
    """Return in one line why a test was skipped or failed."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr)
    return text.strip().partition("\n")[0][:200]
