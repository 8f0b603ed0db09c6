"""The scanner of this installation: the native code, or where that is missing, what goes without it."""

try:
    from headwater.ingest.scanner.library import line_offsets, mended, scan
except OSError as error:
    from headwater.ingest.scanner.general import line_offsets, mended, scan

    #: Why there is no native code; None if there is.
    why_missing: str | None = str(error)
else:
    why_missing = None

__all__ = ["line_offsets", "mended", "scan", "why_missing"]
