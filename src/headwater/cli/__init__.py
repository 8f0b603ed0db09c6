"""Server commands of the command line."""
