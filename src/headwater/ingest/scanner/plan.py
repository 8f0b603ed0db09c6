"""The plan of a plain schema: tables that the scanner follows while it parses a document.

The layout is that of ``scanner.c``, whose comments explain the fields. ``compiler`` builds them.
"""

import ctypes

STRING, INTEGER, FRACTION, BOOLEAN, NOTHING, OBJECT, ARRAY = (1 << place for place in range(7))
MOST_PROPERTIES = 256
#: The maximum of counts and lengths.
MOST_COUNT = (1 << 31) - 1


class Text(ctypes.Structure):
    """A slice of the plan's text."""

    _fields_ = (("start", ctypes.c_int32), ("length", ctypes.c_int32))


class Run(ctypes.Structure):
    """A run of a pattern: a count range of characters from one set."""

    _fields_ = (("set", ctypes.c_uint64 * 4), ("least", ctypes.c_int32), ("most", ctypes.c_int32))


class Property(ctypes.Structure):
    """A property that an object's schema declares."""

    _fields_ = (("name", Text), ("node", ctypes.c_int32), ("is_required", ctypes.c_int32))


class Node(ctypes.Structure):
    """The constraints of a value."""

    _fields_ = (
        ("lowest", ctypes.c_double),
        ("highest", ctypes.c_double),
        ("least", ctypes.c_int64),
        ("most", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("types", "shortest", "longest", "choice", "choices", "run", "runs")),
        *((name, ctypes.c_int32) for name in ("is_whole", "property", "properties", "required", "others")),
        *((name, ctypes.c_int32) for name in ("items", "fewest", "most_items")),
    )


class Plan(ctypes.Structure):
    """The constraints of documents, and which property is their id; it keeps the tables that it points to alive."""

    _fields_ = (
        ("nodes", ctypes.POINTER(Node)),
        ("properties", ctypes.POINTER(Property)),
        ("choices", ctypes.POINTER(Text)),
        ("runs", ctypes.POINTER(Run)),
        ("text", ctypes.c_char_p),
        ("id", ctypes.c_int32),
    )
