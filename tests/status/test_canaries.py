import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

import aiclient
from aiclient.status import serve
from aiclient.testing import FakeNode

CANARY = "c4n4ry-s3cret"


@pytest.fixture
def parrot() -> Iterator[str]:
    """A node that answers with what it was sent instead of HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        over = threading.Event()

        def repeat() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(2)
                        with contextlib.suppress(OSError):
                            connection.sendall(connection.recv(65536))

        thread = threading.Thread(target=repeat)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()


def call_badly(client: aiclient.Client) -> None:
    """Calls full of canaries, some of which cannot be sent at all."""
    headers = [{"x-api-key": CANARY}, {"x-bad": f"{CANARY}\n"}, {"cookie": f"session={CANARY}"}]
    for header in headers * 5:
        with contextlib.suppress(httpx.HTTPError):
            client.post(
                f"/v1/chat/completions?key={CANARY}",
                json={"messages": [{"role": "user", "content": CANARY}]},
                headers=header,
            )


def test_what_a_client_is_given_is_never_shown(
    parrot: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Credentials of the client, of a node, of a call; over nodes that fail in all ways."""
    caplog.set_level(logging.DEBUG, "aiclient")
    with FakeNode(prefill=0) as ill, FakeNode() as dead, FakeNode(api_key="another") as strict:
        dead.kill()
        ill.fault("503", times=3)
        endpoints = [
            aiclient.Endpoint(url, headers={"Authorization": f"Bearer {CANARY}"})
            for url in (parrot, ill.url, dead.url, strict.url)
        ]
        with (
            aiclient.Client(
                endpoints,
                picker=aiclient.RoundRobin(),
                headers={"Authorization": f"Bearer {CANARY}"},
                auth=("user", CANARY),
                cookies={"token": CANARY},
                params={"api_key": CANARY},
            ) as client,
            serve(client.balancer, port=0) as server,
        ):
            call_badly(client)
            page, data = httpx.get(server.url), httpx.get(f"{server.url}status.json")
            nodes = data.json()["balancers"][0]["nodes"]
            assert [node["state"] for node in nodes][2] == "ejected"
            assert nodes[0]["failed"] > 0
            assert nodes[1]["picked"] > 0
            assert CANARY not in page.text + data.text + repr(client.balancer)
    assert "ejected" in caplog.text
    assert CANARY not in caplog.text
