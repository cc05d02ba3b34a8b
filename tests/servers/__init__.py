"""What tests need around a server: a proxy, counters, worker processes, waiting."""
