"""The commands `doctor` and `stats`.

No layer imports this: only `python -m channels_redis_queue`, its Django management command, and
those of the other packages.
"""
