"""A site as people wrote them for channels_redis 4.3.0; nothing in it knows of a newer version."""
