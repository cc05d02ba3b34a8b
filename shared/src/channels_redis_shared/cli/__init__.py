"""The commands `doctor` and `stats` of a layer's package.

Nothing of a layer imports this: only `python -m channels_redis_queue`, and the same of Pub/Sub. The
modules `commands` and `tables` need the extra `[cli]`.
"""
