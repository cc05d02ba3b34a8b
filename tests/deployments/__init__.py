"""Servers as sites run them: Sentinels, TLS, ACLs, old versions."""
