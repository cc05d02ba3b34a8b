"""The rights that the history of groups needs."""

from __future__ import annotations

# Those of a layer's histories and of their scripts; KEY stands for a key of the layer.
HISTORY_COMMANDS = (
    "SCRIPT LOAD x, EVALSHA 0 1 KEY, TIME, GET KEY, SET KEY 1, XADD KEY * n x, XRANGE KEY - +, "
    "XREVRANGE KEY + -, XTRIM KEY MAXLEN 1000, EXPIRE KEY 1"
)
