"""Hostile data in all that the layers read from Redis."""
