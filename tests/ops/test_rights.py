"""The doctor finds the commands that an ACL forbids, and its advice fixes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.acl_rules import PASSWORD, restricted, rule_of
from support.commands import DOCTORS, PUBSUB, QUEUE, examine, run

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

BOTH = pytest.mark.parametrize("package", DOCTORS)
# A right that each layer needs.
NEEDED = {QUEUE: "zpopmin", PUBSUB: "subscribe"}
# What the doctor needs to ask what a user may do.
ASKING = "+acl"


def url_of(server: EmbeddedServer, user: str) -> str:
    """Return a server's URL for a user of the tests."""
    return server.url.replace("redis://", f"redis://{user}:{PASSWORD}@")


@BOTH
@pytest.mark.parametrize("asking", [ASKING, ""])
def test_missing_right(package: str, asking: str, own_server: EmbeddedServer) -> None:
    """A missing permission gets 2 and its name; following the advice fixes it.

    With the right to ask for rights, and without it.
    """
    layer, right = DOCTORS[package].layer_class, NEEDED[package]
    host = restricted(own_server, layer, asking or "+ping", without=f"+{right}")
    url, user = url_of(own_server, host["username"]), host["username"]
    done = run(package, "doctor", url)
    assert done.status == 2
    assert f"error rights user '{user}' may not call {right}" in done.words
    assert f"→ ACL SETUSER {user} +{right}" in done.words
    report = examine(package, url)
    with own_server.client() as client:
        client.execute_command(*report.about("rights")["advice"].split())
    assert examine(package, url).status == 0


@BOTH
def test_smallest_rule(package: str, own_server: EmbeddedServer) -> None:
    """With the rule of the documentation the layer works; what can't be told is only noted."""
    host = restricted(own_server, DOCTORS[package].layer_class)
    report = examine(package, url_of(own_server, host["username"]))
    assert report.status == 0
    assert report.about("message")["level"] == "ok"
    assert "may not call INFO" in report.about("topology")["text"]
    assert "may not call CONFIG GET" in report.about("output buffers")["text"]


@BOTH
@pytest.mark.parametrize("asking", [ASKING, ""])
def test_wrong_names(package: str, asking: str, own_server: EmbeddedServer) -> None:
    """A rule for another prefix gets 2, and the pattern of this one."""
    doctor = DOCTORS[package]
    sign = "~" if package == QUEUE else "&"
    host = restricted(
        own_server, doctor.layer_class, f"{sign}other*", asking or "+ping", without=f"{sign}asgi*"
    )
    report = examine(package, url_of(own_server, host["username"]))
    assert report.status == 2
    hints = {finding["advice"] for finding in report.findings if finding["subject"] == "rights"}
    assert hints == {f"ACL SETUSER {host['username']} {sign}asgi*"}


def test_what_only_flush_needs(own_server: EmbeddedServer) -> None:
    """A right without which only `flush` fails is a warning that says so."""
    host = restricted(own_server, DOCTORS[QUEUE].layer_class, without="+scan")
    report = examine(QUEUE, url_of(own_server, host["username"]))
    assert report.status == 1
    assert "may not call scan, which flush needs" in report.about("rights")["text"]


@BOTH
def test_asks_for_all_that_the_rule_has(package: str) -> None:
    """The commands that the doctor asks about are those of the rule in the documentation."""
    doctor = DOCTORS[package]
    asked = set()
    for required in doctor.required_commands(doctor.layer_class(), "token"):
        name = str(required.command[0]).lower()
        asked.add("script|load" if name == "script" else name)
    assert asked == {word[1:] for word in rule_of(doctor.layer_class) if word.startswith("+")}


def test_trying_leaves_nothing_behind(
    own_server: EmbeddedServer,
) -> None:
    """Commands that are tried on the server leave no key of theirs."""
    host = restricted(own_server, DOCTORS[QUEUE].layer_class)
    assert examine(QUEUE, url_of(own_server, host["username"])).status == 0
    with own_server.client() as client:
        assert not [key for key in client.keys("*") if re.search(rb"doctor\.", key)]
