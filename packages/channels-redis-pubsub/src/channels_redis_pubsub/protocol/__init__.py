"""Decide what Pub/Sub needs. Nothing in here does I/O."""
