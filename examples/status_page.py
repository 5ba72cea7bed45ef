"""A status page inside a service: a node dies, and the page shows it.

The service is a plain WSGI application, so that nothing need be installed; in FastAPI the same is
`app.mount("/balancer", aiclient.status.asgi_app(client.balancer))`. To look at the page in a
browser, or with `aiclient top`, give the seconds to keep it up: `python status_page.py 60`.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import shift_path_info

import httpx

import aiclient
from aiclient.testing import FakeNode

CALLS = 60


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def service_of(client: aiclient.Client) -> Callable[..., Iterable[bytes]]:
    balancer_page = aiclient.status.wsgi_app(client.balancer)

    def service(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if shift_path_info(environ) == "balancer":
            return balancer_page(environ, start_response)
        answer = client.post("/v1/chat/completions", json={"messages": []})
        start_response("200 OK", [("Content-Type", "application/json")])
        return [answer.content]

    return service


def show(page: str) -> None:
    (balancer,) = httpx.get(page, headers={"Accept": "application/json"}).json()["balancers"]
    for node in balancer["nodes"]:
        print(f"{node['name']} {node['state']}: {node['picked']} calls, share {node['share']:.0%}")
    for event in balancer["events"]:
        print(f"{event['ago']:.1f} s ago: {event['kind']} {event['node']}: {event['detail']}")


names = ["node-1", "node-2", "node-3"]
nodes = [FakeNode(name=name, prefill=0.01, token_time=0.001).start() for name in names]
endpoints = [aiclient.Endpoint(node.url, name=node.name) for node in nodes]
with aiclient.Client(endpoints) as client:
    server = make_server("127.0.0.1", 0, service_of(client), Threaded, Quiet)
    threading.Thread(target=server.serve_forever).start()
    here = f"http://127.0.0.1:{server.server_port}"
    print(f"the page: {here}/balancer/")

    for call in range(CALLS):
        if call == CALLS // 2:
            nodes[1].kill()
            print("node-2 is killed")
        httpx.get(f"{here}/ask").raise_for_status()
    show(f"{here}/balancer/")

    end = time.monotonic() + (float(sys.argv[1]) if len(sys.argv) > 1 else 0)
    while time.monotonic() < end:
        httpx.get(f"{here}/ask").raise_for_status()
    server.shutdown()
    server.server_close()
for node in nodes:
    node.stop()
