"""A tap and a target of Singer (https://singer.io), for Meltano and what else pipes one into the other.

The extra ``singer``; the programs are ``tap-headwater`` and ``target-headwater``.
"""

from importlib.util import find_spec

if find_spec("singer_sdk") is None:
    raise ImportError("headwater_client.singer needs singer-sdk: install headwater-client with its extra 'singer'")

from headwater_client.singer.tap import TapHeadwater
from headwater_client.singer.target import TargetHeadwater

__all__ = ["TapHeadwater", "TargetHeadwater"]
