"""Turn messages into bytes and back: serializers, encryption, decoded messages."""
