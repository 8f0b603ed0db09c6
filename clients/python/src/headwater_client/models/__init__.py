"""What the server answers, as typed objects."""
