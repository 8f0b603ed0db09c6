"""The scanner: native code that validates documents against a plain schema."""
