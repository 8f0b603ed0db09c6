"""HTTP for programs: handlers that read, act and answer, and what they share."""
