"""Hostile data from a seed: messages, leaves, names, scores, replies of a server."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING, Any

import msgpack
from cryptography.fernet import Fernet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESERVED = ("__asgi_channel__", "__asgi_exclude__", "__asgi_leave__", "type", "", "text")
BYTES = (
    b"", b"\x00", b"\xff\xfe", b"\xc1", b" ", b"\n", b"{", b"{}", b"[]", b"null", b"nan", b"gone",
    b"-1", b"1e999", b"9" * 400, b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\x80",
    b"\xc9\xff\xff\xff\xff\x05", b"a" * 5000, "\N{SNOWMAN}".encode(), b"\xed\xa0\x80",
    b"\x1b[2J", b"\x00" * 12,
)  # fmt: skip
# Redis refuses NaN as a score.
SCORES = (0.0, -1.0, 1e300, -1e300, float("inf"), float("-inf"), 2.0**53, 1e-300)
DEEP = 3000


class Hostile:
    """A source of hostile data; the same seed gives the same data.

    Args:
        seed: Any number or text.
    """

    def __init__(self, seed: object) -> None:
        self.dice = random.Random(str(seed))
        # Names that mean something to the layer.
        self.channels: list[str] = []
        self._fernet = Fernet(base64.urlsafe_b64encode(bytes(32)))

    def number(self) -> int | float:
        """Return a number."""
        big = min(
            2 ** self.dice.choice((7, 8, 31, 32, 53, 63)) + self.dice.choice((-1, 0, 1)), 2**63
        )
        return self.dice.choice((0, 1, -1, big, 1 - big, 0.5, float("nan"), float("inf"), 1e308))

    def score(self, now: float) -> float:
        """Return a score: mostly of a message sent now."""
        if self.dice.random() < 0.7:
            return now + self.dice.uniform(-2, 2)
        return self.dice.choice(SCORES)

    def raw(self) -> bytes:
        """Return bytes: of known trouble, or random."""
        if self.dice.random() < 0.6:
            return self.dice.choice(BYTES)
        return self.dice.randbytes(self.dice.choice((1, 3, 12, 13, 40, 300)))

    def mutated(self, data: bytes) -> bytes:
        """Return bytes with a few changes: cut, flipped, inserted, removed, doubled."""
        changed = bytearray(data)
        for _ in range(self.dice.choice((1, 1, 2, 5))):
            at = self.dice.randrange(len(changed) + 1)
            kind = self.dice.randrange(5)
            if kind == 0:
                del changed[at:]
            elif kind == 1 and at < len(changed):
                changed[at] ^= 1 << self.dice.randrange(8)
            elif kind == 2:
                changed[at:at] = self.raw()
            elif kind == 3:
                del changed[at : at + self.dice.randrange(1, 20)]
            else:
                changed[at:at] = changed[at : at + 50]
        return bytes(changed)

    def name(self) -> str:
        """Return a name of a channel or group, or something in its place."""
        known = self.dice.choice(self.channels or ["jobs"])
        return self.dice.choice(
            (
                known,
                known,
                known[:-1],
                known + "!",
                f"{known[: known.find('!') + 1]}:g:room",
                f"{known[: known.find('!') + 1]}{self.dice.randrange(1000)}",
                f"specific.{'c' * 32}!x",
                f"specific.{self.dice.randrange(100)}!x",
                "",
                "!",
                "a!b!c",
                ":g:",
                ":group:room",
                "two words",
                "new\nline",
                "\ud800",
                "x" * 3000,
                "{tag}",
            )
        )

    def value(self, depth: int = 0) -> Any:
        """Return anything that msgpack can hold."""
        kind = self.dice.randrange(9 if depth < 4 else 6)
        if kind < 6:
            simple: tuple[Callable[[], Any], ...] = (
                self.number,
                self.name,
                self.raw,
                lambda: None,
                lambda: msgpack.ExtType(self.dice.randrange(128), self.raw()[:300]),
                lambda: msgpack.Timestamp(self.dice.choice((0, 2**34, 2**62)), 5),
            )
            return simple[kind]()
        items = [self.value(depth + 1) for _ in range(self.dice.choice((0, 1, 3, 20)))]
        if kind < 8:
            return items
        return {self.dice.choice((*RESERVED, self.name())): item for item in items}

    def message(self) -> dict[str, Any]:
        """Return a dict with the fields that a layer itself writes, or something in them."""
        message: dict[str, Any] = {"type": self.dice.choice(("x", 5, None, [], {}))}
        for field in ("__asgi_channel__", "__asgi_exclude__"):
            kind = self.dice.randrange(6)
            if kind == 0:
                message[field] = self.value()
            elif kind < 3:
                message[field] = [self.name() for _ in range(self.dice.choice((0, 1, 3, 200)))]
            elif kind == 3:
                message[field] = self.name()
        message["items"] = self.value()
        if self.dice.randrange(6) == 0:
            message["__asgi_leave__"] = self.dice.choice((self.value, self.leave))()
        return message

    def body(self, encoding: str) -> bytes:
        """Return what may stand where a message in msgpack or JSON is expected."""
        kind = self.dice.randrange(10)
        if kind < 2:
            return self.raw()
        if kind == 2:
            return self.deep(encoding)
        value = self.message() if kind < 8 else self.value()
        packed = as_json(value) if encoding == "json" else as_msgpack(value)
        return self.mutated(packed) if self.dice.random() < 0.5 else packed

    def deep(self, encoding: str) -> bytes:
        """Return nested lists or maps, more than a parser may bear."""
        depth = self.dice.choice((100, 600, DEEP))
        if encoding == "json":
            opening = self.dice.choice((b"[", b'{"a":'))
            closing = b"]" if opening == b"[" else b"}"
            return b'{"a":' + opening * depth + b"1" + closing * depth + b"}"
        return b"\x81\xa1a" + self.dice.choice((b"\x91", b"\x81\xa1a")) * depth + b"\xc0"

    def token(self, encrypt: Callable[[bytes], bytes], body: bytes) -> bytes:
        """Return what may stand where a Fernet token is expected."""
        kind = self.dice.randrange(6)
        if kind < 3:
            return encrypt(body)
        if kind == 3:
            return self.mutated(encrypt(body))
        if kind == 4:
            # Of another key, and of any time.
            return self._fernet.encrypt_at_time(body, self.dice.choice((0, 2**31, 2**40)))
        return b"gAAAAA" + base64.urlsafe_b64encode(self.raw())

    def leave(self) -> str:
        """Return what may stand in a leave; none ends a membership that lasts."""
        at = self.dice.choice(("nan", "-inf", "0", "", "soon", "1", "-1e999", "0x1"))
        return self.dice.choice((f"room {at}", f"{self.name()} {at}", self.name(), at))

    def member(self) -> bytes:
        """Return what may stand among a group's names or members."""
        if self.dice.random() < 0.3:
            return self.raw()
        name = self.name().encode(errors="surrogatepass")
        return self.mutated(name) if self.dice.random() < 0.3 else name

    def metas(self) -> bytes:
        """Return what may stand where presence keeps the metas of a person."""
        if self.dice.random() < 0.3:
            return self.raw()
        valid = as_json(self.dice.choice(([1, {"a": None}], [], {}, "text", 5, None, [[]])))
        return self.mutated(valid) if self.dice.random() < 0.4 else valid

    def position(self, known: Sequence[str]) -> str:
        """Return what may stand where a position is expected.

        Args:
            known: Positions of messages.
        """
        valid = self.dice.choice((*known, f"{10**12}-0.0123abcd"))
        number, nonce = valid.split(".")
        return self.dice.choice(
            (
                valid,
                valid,
                f"{number}.{self.dice.randrange(2**32):08x}",
                f"{self.dice.choice((0, 2**63, 2**64 - 1, 2**64, 10**30))}-0.{nonce}",
                f"0-{self.dice.choice((0, 2**64 - 1, 2**64))}.{nonce}",
                f"{valid}\n",
                f"{valid} {valid}",
                f"{valid}\0",
                valid[:-1],
                valid.upper(),
                f"\N{FULLWIDTH DIGIT ONE}-0.{nonce}",
                self.raw().decode("latin-1"),
                self.name(),
                "",
            )
        )

    def reply(self, valid: Any) -> bytes:
        """Return a reply in RESP: a valid one with a few of its parts replaced."""
        kind = self.dice.randrange(8)
        if kind == 0:
            return self.dice.choice(
                (
                    *(b"-ERR no\r\n", b"+OK\r\n", b":7\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n"),
                    # Of protocol 3.
                    *(b"%1\r\n*0\r\n*0\r\n", b"~1\r\n*0\r\n", b"_\r\n", b"#t\r\n"),
                    *(b">1\r\n+x\r\n", b"(99999999999999999999\r\n", b"!3\r\nERR\r\n"),
                )
            )
        if kind == 1:
            return self.raw() + b"\r\n"
        changed = resp(self.replaced(valid))
        if kind == 2:
            # At least one reply must end, or the server would only be slow.
            return self.mutated(changed) + b"\r\n"
        return changed

    def replaced(self, part: Any) -> Any:
        """Return a nested list with some parts replaced, left out, or doubled."""
        if self.dice.random() < 0.15:
            return self.dice.choice(
                (None, b"", self.raw(), -1, 2**40, 2**62, [], [[]], 1.5, [self.raw()])
            )
        if isinstance(part, list):
            changed = [self.replaced(item) for item in part]
            if changed and self.dice.random() < 0.2:
                changed.pop(self.dice.randrange(len(changed)))
            return changed
        return part


def as_msgpack(value: Any) -> bytes:
    """Return a value as msgpack, with lone surrogates as their bytes."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    return packed


def as_json(value: Any) -> bytes:
    """Return a value as JSON; what JSON lacks becomes text."""
    return json.dumps(value, default=repr).encode()


def resp(value: Any) -> bytes:
    """Return a value as a reply of protocol 2; a float in the form of protocol 3."""
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(resp, value))
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, float):
        return b",%r\r\n" % value
    if value is None:
        return b"$-1\r\n"
    return b"$%d\r\n%b\r\n" % (len(value), value)
