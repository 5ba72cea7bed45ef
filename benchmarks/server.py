"""A node that costs next to nothing: the same small chat answer on as many ports as wanted.

    python benchmarks/server.py COUNT [SECONDS]

prints the ports, then serves until standard input closes. An answer comes at once, or after half to
one and a half times SECONDS.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

BODY = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello " * 40}}],
    }
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\n"
    b"Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Node(asyncio.Protocol):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            start = head.find(b"content-length:")
            size = int(head[start + 15 :].partition(b"\r\n")[0]) if start >= 0 else 0
            if len(self.received) < end + 4 + size:
                return
            self.received = self.received[end + 4 + size :]
            self.answer()

    def answer(self) -> None:
        if not self.seconds:
            self.transport.write(ANSWER)
            return
        seconds = self.seconds * random.uniform(0.5, 1.5)
        asyncio.get_running_loop().call_later(seconds, self.transport.write, ANSWER)


async def main(count: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: Node(seconds), "127.0.0.1", 0, backlog=4096)
        for _ in range(count)
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started us is gone


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else 0.0))
