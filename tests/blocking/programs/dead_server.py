"""Synchronous sends while the server is killed and started again; the test does that."""

from __future__ import annotations

import sys
import time

import redis
from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

layer = make_layer()
send = async_to_sync(layer.group_send)
send("room", {"type": "hello"})
say("sent")
sys.stdin.readline()
began = time.monotonic()
try:
    send("room", {"type": "hello"})
except (redis.ConnectionError, redis.TimeoutError) as error:
    say("failed", type(error).__name__, round(time.monotonic() - began, 1))
sys.stdin.readline()
send("room", {"type": "hello"})
say("sent again")
