"""A soak: random faults against a history that every process writes and a checker reads."""
