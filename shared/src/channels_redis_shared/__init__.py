"""Code common to both channel layers: hosts, connections, options, serializers, mailboxes.

Each layer's package carries a copy of this module as its own `_shared`, so the imports in here
are relative, and nothing in here is part of a public interface.
"""
