"""Talk to Redis: connections, pipelines, Sentinel, Cluster, and the errors of each."""
