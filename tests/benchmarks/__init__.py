"""Benchmarks that compare our layers with channels_redis 4.3.0, as ratios."""
