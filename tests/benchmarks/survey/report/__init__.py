"""Makes the figures of a survey readable."""
