"""The commands doctor and stats, on real servers."""
