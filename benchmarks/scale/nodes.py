"""Nodes in a process of their own: they answer at once, or hold every call until they are told.

    python -m benchmarks.scale.nodes PORTS

prints the ports. Then, for each word on standard input, it does as told and prints its counts:
"hold", "answer" (what is held, and from then on at once), or "counts" alone. It ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.scale.machine import raise_file_limit
from benchmarks.server import ANSWER

BACKLOG = 4096


class House:
    """What the nodes of this process share."""

    def __init__(self) -> None:
        self.holding = False
        self.held: list[asyncio.Transport] = []
        self.connections = 0
        self.answered = 0

    def obey(self, word: str) -> dict[str, float]:
        if word == "hold":
            self.holding = True
        elif word == "answer":
            self.holding = False
            held, self.held = self.held, []
            for transport in held:
                transport.write(ANSWER)
            self.answered += len(held)
        return {
            "connections": self.connections,
            "answered": self.answered,
            "held": len(self.held),
            "cpu": time.process_time(),
        }


class Node(asyncio.Protocol):
    def __init__(self, house: House) -> None:
        self.house = house
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.house.connections += 1

    def data_received(self, data: bytes) -> None:
        received = self.received + data
        while size := request_size(received):
            received = received[size:]
            if self.house.holding:
                self.house.held.append(self.transport)
            else:
                self.house.answered += 1
                self.transport.write(ANSWER)
        self.received = received


def request_size(received: bytes) -> int:
    """Bytes of the first request in `received`; 0: it is not whole yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = received[:end].lower()
    start = head.find(b"content-length:")
    body = int(head[start + 15 :].partition(b"\r\n")[0]) if start >= 0 else 0
    size = end + 4 + body
    return size if len(received) >= size else 0


async def main(ports: int) -> None:
    raise_file_limit()
    house = House()
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: Node(house), "127.0.0.1", 0, backlog=BACKLOG)
        for _ in range(ports)
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    while word := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(house.obey(word.strip())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
