"""Runs the command line: ``python -m headwater``."""

from headwater_client.cli import main

main()
