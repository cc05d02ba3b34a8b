"""Processes of `channels_redis` 4 and ours on the same servers."""
