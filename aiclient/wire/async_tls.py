"""TLS over either asynchronous stream, by anyio's sans-I/O wrapper."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute, TLSStream

from .anyio_stream import AnyioStream
from .asyncio_stream import AsyncioStream
from .failures import ConnectError, ConnectTimeout, ReadError, WriteError
from .watch import Watch

__all__ = ["RawStream", "SecureStream", "secure"]

RawStream: TypeAlias = AsyncioStream | AnyioStream


class _Carrier(ByteStream):
    """The raw stream as anyio wants it, with the timeout of the read or write under way."""

    def __init__(self, raw: RawStream) -> None:
        self.raw = raw
        self.timeout: float | None = None

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self.raw.read(max_bytes, self.timeout)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        await self.raw.write(item, self.timeout)

    async def send_eof(self) -> None:
        raise NotImplementedError("TLS has no half-closed connections")

    async def aclose(self) -> None:
        await self.raw.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {}


class SecureStream:
    """One reader and one writer at a time."""

    def __init__(self, carrier: _Carrier, tls: TLSStream) -> None:
        self._carrier = carrier
        self._tls = tls

    @property
    def watch(self) -> Watch | None:
        return self._carrier.raw.watch

    @watch.setter
    def watch(self, watch: Watch | None) -> None:
        self._carrier.raw.watch = watch

    @property
    def idle(self) -> bool:
        return self._carrier.raw.idle

    @idle.setter
    def idle(self, idle: bool) -> None:
        self._carrier.raw.idle = idle

    @property
    def corked(self) -> bool:
        return self._carrier.raw.corked

    @corked.setter
    def corked(self, corked: bool) -> None:
        self._carrier.raw.corked = corked

    @property
    def alive(self) -> bool:
        # What a node sends unasked may have come in together with its answer, and waits in here.
        tls: Any = self._tls
        return not (tls._read_bio.pending or tls._ssl_object.pending()) and self._carrier.raw.alive

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._carrier.timeout = timeout
        try:
            return await self._tls.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError) as exc:
            raise ReadError(str(exc.__cause__ or exc)) from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._carrier.timeout = timeout
        try:
            await self._tls.send(buffer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError) as exc:
            raise WriteError(str(exc.__cause__ or exc)) from exc

    async def aclose(self) -> None:
        await self._carrier.raw.aclose()

    def close(self) -> None:
        self._carrier.raw.close()

    def abort(self) -> None:
        self._carrier.raw.abort()

    def abandon(self) -> None:
        self._carrier.raw.abandon()

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._tls.extra(TLSAttribute.ssl_object)
        return self._carrier.raw.get_extra_info(info)


async def secure(
    raw: RawStream, context: ssl.SSLContext, name: str, timeout: float | None
) -> SecureStream:
    """Shake hands as `name`; the raw stream is closed if that does not come to its end.

    Raises:
        ConnectError, ConnectTimeout
    """
    carrier = _Carrier(raw)
    try:
        # For the whole handshake: a node may keep it going byte by byte.
        with anyio.fail_after(timeout):
            tls = await TLSStream.wrap(
                carrier,
                server_side=False,
                hostname=name,
                ssl_context=context,
                standard_compatible=False,
            )
    except BaseException as exc:
        # A cancelled handshake, too, would else leave the socket to the garbage collector.
        raw.close()
        if isinstance(exc, TimeoutError):
            raise ConnectTimeout(f"no TLS with {name!r} within {timeout:g} s") from exc
        if isinstance(exc, ssl.SSLCertVerificationError):
            raise ConnectError(
                f"TLS: no valid certificate for {name!r}: {exc.verify_message}"
            ) from exc
        if isinstance(exc, (OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError)):
            raise ConnectError(f"TLS with {name!r} failed: {exc.__cause__ or exc}") from exc
        if isinstance(exc, (ReadError, WriteError)):
            raise ConnectError(f"TLS with {name!r} failed: {exc}") from exc
        raise
    return SecureStream(carrier, tls)
