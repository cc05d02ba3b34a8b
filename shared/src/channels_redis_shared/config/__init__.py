"""Check what a user writes in CONFIG: hosts, connection arguments and options."""
