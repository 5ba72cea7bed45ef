"""The page itself: three files in one, and the policy that lets a browser run nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

__all__ = ["page"]


@cache
def page() -> tuple[bytes, str]:
    """The HTML, which is the same for all balancers, and its Content-Security-Policy."""
    folder = files("aiclient.status")
    html, style, script = (
        folder.joinpath(f"page.{ending}").read_text("utf-8") for ending in ("html", "css", "js")
    )
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash_of(script)}'",
            f"style-src '{_hash_of(style)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    whole = html.replace("/* style */", style).replace("/* script */", script)
    return whole.encode("utf-8"), policy


def _hash_of(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}"
