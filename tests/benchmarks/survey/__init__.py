"""Measures our layers beside everything that a site may use instead: `hatch run bench`."""
