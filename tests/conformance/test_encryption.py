"""Encryption: layers with a key in common understand each other, others see nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, checks
from support.messages import joined, take, within

if TYPE_CHECKING:
    import pytest

    from conformance.layer_case import ChannelLayer, LayerCase

pytestmark = [checks(Beyond.ENCRYPTION), needs(Capability.ENCRYPTION)]

SECRET = {"type": "test.secret", "text": "the cat is grey"}


async def test_keys_can_be_rotated(case: LayerCase) -> None:
    """While keys are exchanged, old and new processes read each other's messages.

    First all processes learn to read the new key, then they begin to write it.
    """
    old, both, new = (
        case.layer(symmetric_encryption_keys=keys)
        for keys in (["old", "new"], ["new", "old"], ["new"])
    )
    for sender, receiver in ((old, both), (both, old), (both, new), (new, both), (new, old)):
        await check_reach(sender, receiver)


async def test_other_keys_read_nothing(case: LayerCase, caplog: pytest.LogCaptureFixture) -> None:
    """A message that a process has no key for is dropped and logged there, and hurts no other."""
    ours = case.layer(symmetric_encryption_keys=["ours"])
    theirs = case.layer(symmetric_encryption_keys=["theirs"])
    plain = case.layer(symmetric_encryption_keys=None)
    channel = await ours.new_channel()
    for stranger in (theirs, plain):
        await within(stranger.send(channel, SECRET))
    await within(ours.send(channel, {"type": "ours"}))
    assert await take(ours, channel) == {"type": "ours"}
    [line] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert channel.partition("!")[0] in line.getMessage()


async def test_encrypted_message_is_unreadable_without_a_key(case: LayerCase) -> None:
    """A process without keys cannot read what one with a key sends."""
    ours = case.layer(symmetric_encryption_keys=["ours"])
    plain = case.layer(symmetric_encryption_keys=None)
    channel = await plain.new_channel()
    await within(ours.send(channel, SECRET))
    await within(plain.send(channel, {"type": "readable"}))
    assert await take(plain, channel) == {"type": "readable"}


async def check_reach(sender: ChannelLayer, receiver: ChannelLayer) -> None:
    """Check that direct and group messages of one layer are read by another."""
    channel = await joined(receiver, "room")
    await within(sender.send(channel, SECRET))
    assert await take(receiver, channel) == SECRET
    await within(sender.group_send("room", SECRET))
    assert await take(receiver, channel) == SECRET
    await within(receiver.group_discard("room", channel))
