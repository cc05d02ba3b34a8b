"""The chat's Django site."""
