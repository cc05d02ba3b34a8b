"""Tests of presence, on both layers and each kind of servers."""
