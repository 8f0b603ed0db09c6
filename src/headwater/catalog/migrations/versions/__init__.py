"""The steps of the history, in order of their numbers."""
