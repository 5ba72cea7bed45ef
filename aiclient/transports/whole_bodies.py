"""Reading a response to its end as httpx does, where there is nothing to decode.

httpx's way leads through four generators, a decoder and two chunkers, each made for this response.
A body that is not encoded is what its stream yields.
"""

from __future__ import annotations

from typing import cast

import httpx

__all__ = ["aread_whole", "read_whole"]


def _is_known() -> bool:
    """Whether httpx leaves a response that it has read as `_keep` does."""
    response = httpx.Response(200, stream=httpx.ByteStream(b"x"))
    response.read()
    kept = {"_content": b"x", "_num_bytes_downloaded": 1, "is_stream_consumed": True}
    return kept.items() <= vars(response).items() and response.is_closed


_known = _is_known()


def _is_plain(response: httpx.Response) -> bool:
    if not _known or response.is_stream_consumed or response.is_closed:
        return False
    return not hasattr(response, "_content") and "content-encoding" not in response.headers


def _keep(response: httpx.Response, body: bytes) -> None:
    response.is_stream_consumed = True
    response._num_bytes_downloaded = len(body)
    response._content = body


def read_whole(response: httpx.Response) -> None:
    """As `response.read()`; if it fails, the response is closed."""
    try:
        if not _is_plain(response):
            response.read()
            return
        _keep(response, b"".join(cast("httpx.SyncByteStream", response.stream)))
        response.close()
    except BaseException as exc:
        if isinstance(exc, httpx.RequestError):
            exc.request = response.request
        response.close()
        raise


async def aread_whole(response: httpx.Response) -> None:
    """As `response.aread()`; if it fails, the response is closed."""
    try:
        if not _is_plain(response):
            await response.aread()
            return
        stream = cast("httpx.AsyncByteStream", response.stream)
        _keep(response, b"".join([part async for part in stream]))
        await response.aclose()
    except BaseException as exc:
        if isinstance(exc, httpx.RequestError):
            exc.request = response.request
        await response.aclose()
        raise
