"""A crawler of the Python packages that are installed on this machine, and the demo that runs it."""
