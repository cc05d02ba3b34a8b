"""Show what presence does when processes die, waves come and data is lost, and what it costs."""
