"""Reading a stream: its documents, its log, its size."""
