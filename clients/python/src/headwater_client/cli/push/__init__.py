"""``headwater push``: uploads a file's documents as a task."""
