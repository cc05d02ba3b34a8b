"""Processes of `channels_redis` 4 beside ours, on the same servers."""
