"""Loads a stream into databases through dlt (https://dlthub.com): the extra ``dlt``.

``documents`` is a resource for pipelines of your own; ``sync`` runs one for a database's URL.
"""

from importlib.util import find_spec

if find_spec("dlt") is None or find_spec("pyarrow") is None:
    raise ImportError("headwater_client.dlt needs dlt: install headwater-client with its extra 'dlt'")

from headwater_client.dlt.columns import Column, ColumnType, columns_of
from headwater_client.dlt.resource import documents
from headwater_client.dlt.sync import Synced, sync

__all__ = ["Column", "ColumnType", "Synced", "columns_of", "documents", "sync"]
