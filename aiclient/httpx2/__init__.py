"""The same clients and transports for httpx2, which the current AI SDKs run on.

    openai.OpenAI(base_url="http://llm/v1", http_client=aiclient.httpx2.Client(nodes))

Needs the extra: `pip install 'aiclient[httpx2]'`. The two families do not mix: a client takes
transports, and raises exceptions, of its own family; one `Balancer` may serve both at once.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("httpx2") is None:
    raise ImportError("aiclient.httpx2 needs httpx2: pip install 'aiclient[httpx2]'")

from .async_transport import AsyncBalancedTransport
from .client import AsyncClient, Client
from .sync_transport import BalancedTransport

__all__ = ["AsyncBalancedTransport", "AsyncClient", "BalancedTransport", "Client"]
