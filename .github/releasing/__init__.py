"""Tools for releasing the packages of this repository, one at a time.

Each is a subcommand of ``python -m releasing`` and a script of the ``release`` environment in
hatch.toml, so that what a workflow does can be run anywhere.
"""
