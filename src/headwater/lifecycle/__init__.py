"""What happens to a task, from its creation to its end, and what its EC is told of it."""
