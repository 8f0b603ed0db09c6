"""Reading and maintaining streams: documents, log, size."""
