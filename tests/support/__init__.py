"""Helpers for tests: servers, proxies, worker processes, layers."""
