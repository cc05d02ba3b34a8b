"""The chat itself: one consumer for each open page.

All that consumers know of each other goes through the channel layer. Presence shows who is where; a
group for each room carries what is said there. There is no database: the groups keep a history,
from which newcomers get the latest messages, and pages that come back what they have missed.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from contextlib import suppress
from typing import Any

import redis
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from channels_redis_pubsub.broadcast import Broadcasts, broadcast
from channels_redis_pubsub.presence import Presence

SERVER = os.environ["CHAT_SERVER"]
EVERYONE = "everyone"
ROOM_NAME = re.compile(r"[a-z0-9-]{1,30}")
LONGEST_NAME = 30  # characters
LONGEST_TEXT = 2000  # characters
LONGEST_ID = 100  # characters of what a page calls itself, a message, or a position
LATEST = 20  # messages that a newcomer gets
AWAY = (redis.ConnectionError, redis.TimeoutError)

# Without a grace: a page that is loaded again is a new person.
presence = Presence("default", grace=0)

Event = dict[str, Any]


class Refused(Exception):
    """Raised when a page asks for something impossible; the text is for people."""


def text_of(content: Any, field: str, longest: int = LONGEST_ID) -> str:
    """A text that a page sent. All pages get it, so it must be one, and not be huge."""
    text = content.get(field) if isinstance(content, dict) else None
    if not isinstance(text, str) or len(text) > longest:
        message = f"{field} must be a text of {longest} characters at most."
        raise Refused(message)
    return text


class ChatConsumer(Broadcasts, AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels has no types.
    """The consumer of one page."""

    async def connect(self) -> None:
        """Accept the page; it becomes a person when it joins a room."""
        self.person: Event = {}
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels passes it.
        """Leave, when the page is closed."""
        await presence.untrack(EVERYONE, self.channel_name)
        if self.person:
            with suppress(*AWAY):
                await self.leave_room()
                await self.channel_layer.group_discard(f"{EVERYONE}.presence", self.channel_name)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Return what a page sends; None if it is no JSON."""
        with suppress(ValueError):
            return await super().decode_json(text_data)

    async def receive_json(self, content: Any) -> None:
        """Do what the page asks for."""
        actions = {"join": self.join, "say": self.say, "plug": self.plug, "kill": self.kill}
        try:
            await actions.get(text_of(content, "kind"), self.refuse)(content)
        except Refused as refused:
            await self.send_json({"kind": "refused", "reason": str(refused)})
        except AWAY:
            # The message may have got there or not. The page sends it again, with the same id.
            failed = text_of(content, "id") if "id" in content else None
            await self.send_json({"kind": "failed", "id": failed})

    # Requests of a page.

    async def refuse(self, _: Event) -> None:
        """Do nothing that the consumer doesn't know."""
        message = "There is no such request."
        raise Refused(message)

    async def join(self, content: Event) -> None:
        """Enter a room, from no room or another one; or take another name."""
        name, room = text_of(content, "name").strip(), text_of(content, "room")
        page = text_of(content, "page")
        # A page that comes back says which message it had last, and gets all after it.
        since = text_of(content, "since") if content.get("since") is not None else None
        if not 0 < len(name) <= LONGEST_NAME:
            message = f"A name has 1 to {LONGEST_NAME} characters."
            raise Refused(message)
        if not ROOM_NAME.fullmatch(room):
            message = "A room's name consists of a-z, 0-9 and -, 30 characters at most."
            raise Refused(message)
        if self.person and self.person["room"] != room:
            await self.leave_room()
        identity = self.person.get("id") or secrets.token_hex(8)
        self.person = {
            "id": identity,
            "page": page,  # the same when the page connects again
            "name": name,
            "room": room,
            "server": SERVER,
            "since": time.time(),
        }
        await self.channel_layer.group_add(f"{EVERYONE}.presence", self.channel_name)
        joined = await self.channel_layer.group_add(
            self.room(), self.channel_name, since=since, rewind=LATEST
        )
        await self.send_json({"kind": "joined", **joined._asdict()})
        await presence.track(EVERYONE, self.channel_name, identity, self.person)
        people = await presence.list(EVERYONE)
        await self.send_json({"kind": "list", "people": people, "at": people.at})

    async def say(self, content: Event) -> None:
        """Say something in the room."""
        identity = text_of(content, "id")
        text = text_of(content, "text", LONGEST_TEXT).strip()
        if not 0 < len(text) <= LONGEST_TEXT:
            message = f"A message has 1 to {LONGEST_TEXT} characters."
            raise Refused(message)
        room = self.room()
        said = {"id": identity, "person": self.person, "text": text, "at": time.time()}
        await self.channel_layer.group_send(room, {"type": "chat.said", "said": said})

    async def plug(self, _: Event) -> None:
        """Ask the demo, which started Redis, to stop it for some seconds."""
        os.kill(int(os.environ["CHAT_DEMO_PID"]), signal.SIGUSR1)

    async def kill(self, _: Event) -> None:
        """End this process as a crash does. The demo starts another one."""
        os.kill(os.getpid(), signal.SIGKILL)

    # Messages between consumers. Channels calls the method that a message's type names.

    async def chat_gap(self, event: Event) -> None:
        """Show that Redis no longer has all messages that the page may have missed."""
        await self.send_json({"kind": "gap", "position": event["__asgi_position__"]})

    # The same for every page, so the frame is built once and goes straight to the sockets.

    @broadcast
    def presence_diff(event: Event) -> Event:  # noqa: N805 - a broadcast has no self
        """Show who has come, changed name or room, or left."""
        return {"kind": "diff", **event}

    @broadcast
    def chat_said(event: Event) -> Event:  # noqa: N805
        """Show what someone said, and how long it took from their process to this one."""
        said = event["said"]
        return {
            "kind": "said",
            "said": said,
            "to": SERVER,
            "ms": round((time.time() - said["at"]) * 1000, 1),
            "position": event["__asgi_position__"],  # The page says it when it comes back.
        }

    def room(self) -> str:
        """The group of the room that the person is in."""
        if not self.person:
            message = "Join a room first."
            raise Refused(message)
        return f"room.{self.person['room']}"

    async def leave_room(self) -> None:
        """Leave the room."""
        await self.channel_layer.group_discard(self.room(), self.channel_name)
