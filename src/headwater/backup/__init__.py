"""Backups of a server, restored and verified."""
