"""The combinations meet each two versions, and no more often than needed."""

from __future__ import annotations

import pytest

from matrix.combinations import PYTHONS, SERVERS, Combination, combinations


def test_each_pair_meets() -> None:
    """Every two versions that can be installed together are tested together."""
    met = set().union(*(combination.pairs() for combination in combinations(PYTHONS, SERVERS)))
    wanted = [
        Combination("3.10", "5.0", "python", "4.2", "4.2", "redis-6.2"),
        Combination("3.14", "8", "hiredis", "newest", "newest", "valkey"),
        Combination("3.12", "7", "hiredis", "4.2", "5.2", "redis-of-the-system"),
    ]
    for combination in wanted:
        assert combination.is_possible
        assert combination.pairs() <= met


def test_impossible_ones_are_left_out() -> None:
    """Django 6 needs Python 3.12, and Django 4.2 runs on none after it."""
    chosen = combinations(PYTHONS, SERVERS)
    assert all(combination.is_possible for combination in chosen)
    assert not Combination("3.11", "8", "python", "4.2", "newest", "valkey").is_possible
    assert not Combination("3.13", "8", "python", "4.2", "4.2", "valkey").is_possible
    # Each Python with each redis-py is 20 already; all there are would be 528.
    assert 20 <= len(chosen) <= 25


@pytest.mark.parametrize("version", PYTHONS)
def test_one_python_alone(version: str) -> None:
    """On a machine with one Python, it meets everything else."""
    met = {one.redis_py for one in combinations([version], SERVERS)}
    assert met == {"5.0", "6", "7", "8"}
