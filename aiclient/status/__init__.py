"""What the balancer sees and does, on a page in the browser and as JSON.

    app.mount("/balancer", aiclient.status.asgi_app(client.balancer))

    with aiclient.status.serve(client.balancer, port=8089): ...

The page shows each node with its state, share, calls in flight and first-byte time, and the last
events; it follows them without a reload. The JSON is at the same path for who asks for
`application/json`, at `?format=json`, and at `status.json` below it. Neither holds an endpoint's
headers or anything else that looks like a credential, and nothing can be changed there. Who may
see them is for the service to decide that mounts them.
"""

from __future__ import annotations

from .apps import asgi_app, wsgi_app
from .server import StatusServer, serve

__all__ = ["StatusServer", "asgi_app", "serve", "wsgi_app"]
