"""What a node tells about its load, from what it answered."""

from __future__ import annotations

import httpx

_ORCA = "endpoint-load-metrics"
_ORCA_FORMATS = ("TEXT ", "JSON ")
_TGI = ("x-queue-time", "x-inference-time")
_FAMILIES = {b"vllm:": "vLLM", b"sglang:": "SGLang", b"tgi_": "TGI", b"nv_": "Triton"}
_MOST_TEXT = 100


def in_headers(headers: httpx.Headers) -> list[str]:
    """The signals in the headers of an inference answer."""
    found = []
    orca = headers.get(_ORCA)
    if orca is not None:
        for prefix in _ORCA_FORMATS:
            orca = orca.removeprefix(prefix)
        found.append(f"ORCA ({clean(orca.replace('named_metrics.', ''))})")
    tgi = [name for name in _TGI if name in headers]
    if tgi:
        found.append(f"TGI ({', '.join(tgi)})")
    return found


def in_metrics(body: bytes) -> list[str]:
    """The signal in what /metrics answered, if that is Prometheus' format."""
    if b"# TYPE " not in body and b"# HELP " not in body:
        return []
    family = next((name for mark, name in _FAMILIES.items() if mark in body), None)
    return [f"/metrics ({family})" if family else "/metrics"]


def clean(text: str, most: int = _MOST_TEXT) -> str:
    """A node's text, made fit for a terminal: it may hold anything."""
    printable = "".join(char for char in text if char.isprintable())
    return printable if len(printable) <= most else f"{printable[: most - 3]}..."
