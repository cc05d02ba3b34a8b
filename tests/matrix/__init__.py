"""Runs the tests of the contract with many versions of everything: `hatch run matrix:run`."""
