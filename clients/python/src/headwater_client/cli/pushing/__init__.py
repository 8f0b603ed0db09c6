"""What ``headwater push`` does: a file becomes the documents of a task."""
