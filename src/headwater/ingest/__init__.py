"""What happens to an upload: bytes in, a segment out, or an error that says what, where and how to mend it."""
