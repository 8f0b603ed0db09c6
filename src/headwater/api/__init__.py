"""The HTTP API: routers, middleware, and what they share."""
