"""Requests that nobody thought of, made from the OpenAPI by schemathesis; ``make fuzz`` runs them."""
