"""Benchmarks that measure our layers beside channels_redis 4.3.0, as ratios."""
