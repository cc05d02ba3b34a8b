"""A soak of our layers: consumers come and go and much breaks, and nothing may grow by it."""
