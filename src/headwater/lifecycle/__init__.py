"""Task lifecycle: creation, attempts, status, end, and the calls to ECs and webhooks that go with them."""
