"""Decide what Pub/Sub needs, without I/O."""
