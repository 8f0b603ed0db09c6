"""Webhooks: definitions, fan-out of events, delivery."""
