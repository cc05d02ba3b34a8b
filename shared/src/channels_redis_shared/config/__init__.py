"""Check the options of a layer and the connection arguments of its hosts."""
