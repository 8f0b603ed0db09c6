"""The console: the pages for people."""
