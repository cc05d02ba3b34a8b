"""The rights that presence needs."""

from __future__ import annotations

# Those that presence sends; KEY stands for a key of the layer.
PRESENCE_COMMANDS = (
    "EVAL x 1 KEY, TIME, HSET KEY a 1, HGET KEY a, HSCAN KEY 0, HLEN KEY, HDEL KEY a, "
    "EXPIRE KEY 60, ZADD KEY 1 a, ZSCORE KEY a, ZRANGEBYSCORE KEY 0 1, ZREMRANGEBYSCORE KEY 0 0"
)
