"""Compares our layers with everything that a site could use instead: `hatch run bench`."""
