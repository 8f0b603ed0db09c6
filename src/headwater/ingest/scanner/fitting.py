"""The scanner of this installation: the native code, or where that is missing, what goes without it."""

try:
    from headwater.ingest.scanner.library import line_offsets, mended, scan
except OSError as error:
    from headwater.ingest.scanner.general import line_offsets, mended, scan

    #: Why there is no native code; None if there is.
    WHY_MISSING: str | None = str(error)
else:
    WHY_MISSING = None

__all__ = ["WHY_MISSING", "line_offsets", "mended", "scan"]
