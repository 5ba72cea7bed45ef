"""A fake AI node as a process of its own: `python -m aiclient.testing.node --port 8001`.

It can be controlled while it runs, also while a fault is on:

- `GET /_fake/stats` answers with the counters (`NodeStats`) as a JSON object;
- `POST /_fake/control` takes `{"do": "fault", "name": "429", "retry_after": 2}`,
  `{"do": "heal"}` or `{"do": "set", "token_time": 0.1}`, and answers with the counters, or 400
  and what is wrong. Names and options are those of `FakeNode.fault` and `FakeNode.set`.

A node told to `refuse` accepts no new connection for this either, but keeps the connections
that carried such requests before.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

from .fakenode import FakeNode

_SUMMARY = "A fake AI node: OpenAI-compatible, streaming, with faults on demand."


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Prints one line saying where it listens."""
    parser = _parser()
    options = vars(parser.parse_args(argv))
    with_stdin = options.pop("exit_with_stdin")
    certfile, keyfile = options.pop("certfile"), options.pop("keyfile")
    if bool(certfile) != bool(keyfile):
        parser.error("--certfile and --keyfile belong together")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        node = FakeNode(**options, tls=(certfile, keyfile) if certfile else None).start()
    except (OSError, ValueError) as exc:
        parser.error(str(exc))
    with node:
        if with_stdin:
            threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
        sys.stdout.write(f"listening on {node.url}\n")
        sys.stdout.flush()
        ended.wait()
    return 0


def _wait_for_end(ended: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    ended.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aiclient.testing.node", description=_SUMMARY)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=0, help="0: the system chooses (default)")
    add("--slots", type=int, default=4, help="requests served at once (%(default)s)")
    add("--prefill", type=float, default=0.05, help="seconds before a token (%(default)s)")
    add("--token-time", type=float, default=0.01, help="seconds per token (%(default)s)")
    add("--tokens", type=int, default=16, help="tokens in an answer (%(default)s)")
    add("--model", default="fake-model", help="the model's name (%(default)s)")
    add("--queue", type=int, help="how many may wait for a slot (no limit)")
    add("--name", help="the node's name (node-PORT)")
    add("--api-key", help="the key that all but /health want (none)")
    add("--keepalive", type=float, default=5.0, help="seconds an idle connection lives")
    add("--prefix", default="", help="a path such as /proxy/a below which it answers (none)")
    add("--certfile", help="certificate chain, for TLS")
    add("--keyfile", help="private key, for TLS")
    add("--exit-with-stdin", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
