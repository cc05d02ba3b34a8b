"""The chat itself: one consumer for each open page.

All that consumers know of each other goes through the channel layer. A group for everyone carries
who is where; a group for each room carries what is said there. There is no database: newcomers
introduce themselves, and everyone answers with who they are and what they said last.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections import deque
from contextlib import suppress
from typing import Any

import redis
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from channels_redis_pubsub.broadcast import Broadcasts, broadcast

SERVER = os.environ["CHAT_SERVER"]
EVERYONE = "everyone"
ROOM_NAME = re.compile(r"[a-z0-9-]{1,30}")
LONGEST_NAME = 30  # characters
LONGEST_TEXT = 2000  # characters
REMEMBERED = 20  # messages of each person, for later joiners
AWAY = (redis.ConnectionError, redis.TimeoutError)

Event = dict[str, Any]


class Refused(Exception):
    """Raised when a page asks for something that makes no sense; the text is for people."""


class ChatConsumer(Broadcasts, AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels has no types.
    """The consumer of one page."""

    async def connect(self) -> None:
        """Accept the page; it becomes a person when it joins a room."""
        self.person: dict[str, str] = {}
        self.said: deque[Event] = deque(maxlen=REMEMBERED)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels passes it.
        """Leave, when the page is closed."""
        if self.person:
            with suppress(*AWAY):
                await self.leave_room()
                await self.channel_layer.group_discard(EVERYONE, self.channel_name)
                await self.tell(EVERYONE, "person.left", person=self.person)

    async def receive_json(self, content: Event) -> None:
        """Do what the page asks for."""
        actions = {"join": self.join, "say": self.say, "plug": self.pull_the_plug}
        try:
            if action := actions.get(content.get("kind", "")):
                await action(content)
        except Refused as refused:
            await self.send_json({"kind": "refused", "reason": str(refused)})
        except AWAY:
            # The message may have got there or not. The page sends it again, with the same id.
            await self.send_json({"kind": "failed", "id": content.get("id")})

    # Requests of a page.

    async def join(self, content: Event) -> None:
        """Enter a room, from no room or another one; or take another name."""
        name, room = str(content.get("name", "")).strip(), str(content.get("room", ""))
        if not 0 < len(name) <= LONGEST_NAME:
            message = f"A name has 1 to {LONGEST_NAME} characters."
            raise Refused(message)
        if not ROOM_NAME.fullmatch(room):
            message = "A room's name is made of a-z, 0-9 and -, 30 characters at most."
            raise Refused(message)
        if self.person and self.person["room"] != room:
            await self.leave_room()
        identity = self.person.get("id") or secrets.token_hex(8)
        self.person = {"id": identity, "name": name, "room": room, "server": SERVER}
        await self.channel_layer.group_add(EVERYONE, self.channel_name)
        await self.channel_layer.group_add(f"room.{room}", self.channel_name)
        await self.introduce_myself()

    async def say(self, content: Event) -> None:
        """Say something in the room."""
        text = str(content.get("text", "")).strip()
        if not 0 < len(text) <= LONGEST_TEXT:
            message = f"A message has 1 to {LONGEST_TEXT} characters."
            raise Refused(message)
        if not self.person:
            message = "Join a room before you say something."
            raise Refused(message)
        said = {"id": content.get("id"), "person": self.person, "text": text, "at": time.time()}
        await self.tell(f"room.{self.person['room']}", "chat.said", said=said)
        if all(said["id"] != earlier["id"] for earlier in self.said):
            self.said.append(said)

    async def pull_the_plug(self, _: Event) -> None:
        """Ask the demo, which started Redis, to stop it for some seconds."""
        os.kill(int(os.environ["CHAT_DEMO_PID"]), signal.SIGUSR1)
        await self.send_json({"kind": "unplugged"})

    # Messages between consumers. Channels calls the method that a message's type names.

    async def tell(self, group: str, kind: str, **message: object) -> None:
        """Send a message to a group."""
        await self.channel_layer.group_send(group, {"type": kind, **message})

    async def introduce_myself(self) -> None:
        """Say who is here, and what they said last, so that the others answer."""
        hello = {"person": self.person, "said": list(self.said), "channel": self.channel_name}
        await self.channel_layer.group_send(
            EVERYONE, {"type": "person.hello", **hello}, exclude=[self.channel_name]
        )
        await self.person_here(hello)

    async def person_hello(self, event: Event) -> None:
        """Show a newcomer to the page, and answer it alone, whichever process it is in."""
        await self.person_here(event)
        same_room = event["person"]["room"] == self.person["room"]
        said = list(self.said) if same_room else []
        answer = {"type": "person.here", "person": self.person, "said": said}
        with suppress(ChannelFull, *AWAY):
            await self.channel_layer.send(event["channel"], answer)

    async def person_here(self, event: Event) -> None:
        """Show someone who is here, with what they said; the page skips what it has."""
        await self.send_json({"kind": "here", "person": event["person"], "said": event["said"]})

    # The same for every page, so the frame is built once and goes straight to the sockets.

    @broadcast
    def person_left(event: Event) -> Event:  # noqa: N805 - a broadcast has no self
        """Take someone off the page."""
        return {"kind": "left", "person": event["person"]}

    @broadcast
    def chat_said(event: Event) -> Event:  # noqa: N805
        """Show what someone said, and how long it took from their process to this one."""
        said = event["said"]
        milliseconds = round((time.time() - said["at"]) * 1000, 1)
        return {"kind": "said", "said": said, "to": SERVER, "ms": milliseconds}

    async def leave_room(self) -> None:
        """Leave the room, and forget its messages."""
        self.said.clear()
        room = f"room.{self.person['room']}"
        await self.channel_layer.group_discard(room, self.channel_name)

    # Notices of the Pub/Sub layer; see settings.

    async def redis_disconnected(self, _: Event) -> None:
        """Tell the page that it may miss something."""
        await self.send_json({"kind": "disconnected"})

    async def redis_reconnected(self, _: Event) -> None:
        """Catch up: everyone answers an introduction with what they said last."""
        await self.send_json({"kind": "reconnected"})
        if self.person:
            try:
                await self.introduce_myself()
            except AWAY:  # Again already. The page joins once more.
                await self.send_json({"kind": "failed", "id": None})
