"""The doctor finds the commands that an ACL forbids, and its advice fixes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.acl_rules import PASSWORD, addition_of, restricted, rule_of
from support.commands import DOCTORS, PUBSUB, QUEUE, examine

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

BOTH = pytest.mark.parametrize("package", DOCTORS)
# What the doctor needs to ask what a user may do.
ASKING = "+acl"


def url_of(server: EmbeddedServer, user: str) -> str:
    """Return a server's URL for a user of the tests."""
    return server.url.replace("redis://", f"redis://{user}:{PASSWORD}@")


@pytest.mark.parametrize(
    ("package", "without", "needed_by", "status"),
    [
        (QUEUE, "+zpopmin", "the layer", 2),
        (PUBSUB, "+subscribe", "the layer", 2),
        (QUEUE, "~asgi*", "the layer", 2),
        (PUBSUB, "&asgi*", "the layer", 2),
        (QUEUE, "+scan", "flush", 1),
    ],
)
def test_missing_right(
    package: str, without: str, needed_by: str, status: int, own_server: EmbeddedServer
) -> None:
    """It is named; following the advice ends the complaint."""
    other = without.replace("asgi", "other") if "asgi" in without else ASKING
    host = restricted(own_server, DOCTORS[package].layer_class, ASKING, other, without=without)
    url, user = url_of(own_server, host["username"]), host["username"]
    report = examine(package, url)
    assert report.status == status
    (found,) = report.of("error") or report.of("warning")
    assert found["text"] == f"user '{user}' lacks {without}, which {needed_by} needs"
    assert found["advice"] == f"ACL SETUSER {user} {without}"
    with own_server.client() as client:
        client.execute_command(*found["advice"].split())
    assert examine(package, url).status == 0


@BOTH
def test_smallest_rule(package: str, own_server: EmbeddedServer) -> None:
    """With the rule of the documentation the layer works; what it can't find out is only a note."""
    host = restricted(own_server, DOCTORS[package].layer_class)
    report = examine(package, url_of(own_server, host["username"]))
    assert report.status == 0
    assert report.about("message")["level"] == "ok"
    assert "may not call INFO" in report.about("server")["text"]
    assert "this needs Redis 7, and a user that may call ACL" in report.about("rights")["text"]


def names(required: list[Any], *features: str) -> set[str]:
    """Return the commands that features require, as an ACL rule names them."""
    commands = [
        text.split()
        for right in required
        if right.feature in features
        for text in right.commands.lower().split(",")
    ]
    return {"|".join(words[:2]) if words[0] == "script" else words[0] for words in commands}


@BOTH
def test_asks_for_all_that_the_rule_has(package: str) -> None:
    """The commands that the doctor asks about are those of the rules in the documentation."""
    doctor, cls = DOCTORS[package], DOCTORS[package].layer_class
    required = doctor.required_rights(cls(history={"chat.*": {}}))
    rule = {word[1:] for word in rule_of(cls) if word.startswith("+")}
    assert names(required, "", "flush") == rule
    for feature in ("presence", "history"):
        more = {word[1:] for word in addition_of(cls, feature) if word.startswith("+")}
        assert names(required, feature) - rule == more
    assert names(doctor.required_rights(cls()), "history") == set()


@BOTH
async def test_history_with_its_rule(package: str, own_server: EmbeddedServer) -> None:
    """With the rule of the documentation, and no more, a group keeps its history."""
    layer_class = DOCTORS[package].layer_class
    host = restricted(own_server, layer_class, *addition_of(layer_class, "history"))
    layer = layer_class([host], history={"chat.*": {}})
    channel = await layer.new_channel()
    joined = await layer.group_add("chat.1", channel)
    await layer.group_send("chat.1", {"type": "chat.message"})
    await layer.receive(channel)
    late = await layer.new_channel()
    await layer.group_add("chat.1", late, since=joined.position)
    assert (await layer.receive(late))["type"] == "chat.message"
    await layer.close_pools()


@BOTH
def test_presence_without_rights(package: str, own_server: EmbeddedServer) -> None:
    """A user that lacks the rights of presence gets 0 and the rules; following them ends it."""
    doctor = DOCTORS[package]
    host = restricted(own_server, doctor.layer_class, ASKING)
    url = url_of(own_server, host["username"])
    report = examine(package, url)
    assert report.status == 0
    assert report.about("rights")["level"] == "ok"
    found = report.about("rights, presence")
    assert found["level"] == "note"
    assert "+hdel" in found["text"]
    assert "which presence needs" in found["text"]
    with own_server.client() as client:
        while found["advice"]:
            # A server that refuses a command does not look at its keys yet.
            client.execute_command(*found["advice"].split())
            report = examine(package, url)
            found = report.about("rights, presence")
