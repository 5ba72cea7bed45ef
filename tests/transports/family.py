"""The httpx family the tests of this room run over: httpx's, or by environment httpx2's.

    AICLIENT_FAMILY=httpx2 pytest tests/transports

`httpx` is the family's own library, `clients` holds our clients and transports for it, and
`sync_room` is its copy of that module.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

FAMILY = os.environ.get("AICLIENT_FAMILY", "httpx")
if TYPE_CHECKING or FAMILY == "httpx":
    import httpx

    import aiclient as clients
    from aiclient.wire import sync_room
else:
    import httpx2 as httpx

    from aiclient import httpx2 as clients
    from aiclient.httpx2 import sync_room

__all__ = ["FAMILY", "clients", "httpx", "sync_room"]
