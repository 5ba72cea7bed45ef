"""What a node's name stands for."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading

import aiclient


async def addresses_of(endpoint: aiclient.Endpoint, timeout: float) -> list[str]:
    """The addresses of its host, in the resolver's order; of IPv4 and IPv6 those that are more.

    The same machine often has one of each: that does not make it two nodes.

    Raises:
        OSError: there are none, or the resolver took longer than `timeout`.
    """
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(endpoint.host.partition("%")[0]))]
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[tuple[int, str]] | OSError] = loop.create_future()

    def deliver(found: list[tuple[int, str]] | OSError) -> None:
        if not answer.done():
            answer.set_result(found)

    def resolve() -> None:
        found = _resolved(endpoint.host, endpoint.port)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, found)

    # Not the loop's own pool: leaving the loop would wait for a resolver that hangs.
    threading.Thread(target=resolve, name="aiclient resolver", daemon=True).start()
    async with asyncio.timeout(timeout):
        found = await answer
    if isinstance(found, OSError):
        raise found
    families = [family for family, _ in found]
    most = max(families, key=families.count)
    return [address for family, address in found if family == most]


def _resolved(host: str, port: int) -> list[tuple[int, str]] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        return exc
    except UnicodeError:
        return OSError("it is no valid name")
    return list(dict.fromkeys((int(family), str(where[0])) for family, *_, where in found))
