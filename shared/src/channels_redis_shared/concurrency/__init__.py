"""Keep values for each event loop and each process, on every supported Python."""
