"""``python -m headwater_client`` is the command line."""

from headwater_client.cli import main

main()
