"""Send the commands of synchronous callers in place, without an event loop of their own."""
