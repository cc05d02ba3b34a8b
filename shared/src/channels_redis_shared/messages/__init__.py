"""Turn messages into bytes and back."""
