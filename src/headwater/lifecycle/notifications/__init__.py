"""Notifications of people: collected, grouped, sent through Apprise."""
