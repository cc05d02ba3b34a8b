"""Decide what the queue protocol needs. Nothing in here does I/O."""
