"""Show what a layer does: statistics, logs, OpenTelemetry, Django system checks."""
