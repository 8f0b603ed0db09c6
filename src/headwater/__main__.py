"""``python -m headwater`` is the command line."""

from headwater_client.cli import main

main()
