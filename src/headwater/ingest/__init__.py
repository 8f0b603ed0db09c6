"""The upload path, from received bytes to a segment, or to an error that says what is wrong, where, and the fix."""
