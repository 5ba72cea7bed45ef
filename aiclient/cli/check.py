"""`aiclient check`: what the user typed becomes probes, and their findings the exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.status import Status

import aiclient

from .findings import Finding
from .probe import Probe
from .report import print_json, print_table

# Nobody looks at the lines of a file side by side: nothing need be folded.
_WIDTH_OF_A_PIPE = 160


def run(
    urls: Sequence[str], headers: Sequence[str], key: str | None, timeout: float, *, as_json: bool
) -> int:
    """Ask every node; the exit status."""
    credentials = _headers(headers, key)
    nodes = _endpoints([part for url in urls for part in url.split(",") if part.strip()])
    probes = [Probe(node, credentials, timeout) for node in nodes]
    progress = Console(stderr=True, force_terminal=sys.stderr.isatty())
    findings = asyncio.run(_all(probes, progress))
    if as_json:
        print_json(findings)
    else:
        print_table(_console(), findings)
    return 0 if all(finding.ok for finding in findings) else 1


def _console() -> Console:
    # Not left to rich, which takes a pipe for a terminal when FORCE_COLOR is set.
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_OF_A_PIPE)
    return console


async def _all(probes: Sequence[Probe], progress: Console) -> list[Finding]:
    """All nodes at once; meanwhile a terminal sees how many have answered."""
    many = f"{len(probes)} node{'s' if len(probes) > 1 else ''}"
    tasks = [asyncio.create_task(probe.run()) for probe in probes]
    with Status(f"asking {many} ...", console=progress) as status:
        for done, task in enumerate(asyncio.as_completed(tasks), start=1):
            await task
            status.update(f"asking {many} ... {done} done")
    return [task.result() for task in tasks]


def _headers(headers: Sequence[str], key: str | None) -> dict[str, str]:
    """The headers to send. An error never shows a value: it may be a credential."""
    found: dict[str, str] = {}
    for number, header in enumerate(headers, start=1):
        name, colon, value = header.partition(":")
        if not colon:
            raise click.UsageError(f"--header number {number} is not of the form NAME:VALUE")
        found[name.strip()] = value.strip()
    if key and not any(name.lower() == "authorization" for name in found):
        found["Authorization"] = f"Bearer {key.strip()}"
    try:
        aiclient.Endpoint("http://node:1", headers=found)
    except aiclient.ConfigurationError as exc:
        # Without a colon in the right place the name may be a part of the value.
        raise click.UsageError(
            "--header or --key: a header's name is one word, "
            "its value has no control characters and is encodable as latin-1"
        ) from exc
    return found


def _endpoints(urls: Sequence[str]) -> list[aiclient.Endpoint]:
    nodes: dict[tuple[object, ...], aiclient.Endpoint] = {}
    wrong = []
    for url in urls:
        try:
            node = aiclient.Endpoint(url)
        except aiclient.ConfigurationError as exc:
            wrong.append(_complaint(url, str(exc)))
            continue
        if node.scheme in ("http", "https"):
            nodes.setdefault(node.identity, node)
        else:
            wrong.append(f"{node}: http:// or https:// is needed, not {node.scheme}://")
    if wrong:
        raise click.UsageError("\n".join(wrong))
    if not nodes:
        raise click.UsageError("no URL given")
    return list(nodes.values())


def _complaint(url: str, message: str) -> str:
    """What is wrong with a URL; what may be a password or a key in it is not repeated."""
    if "@" in url:
        host = _shown(url.rpartition("@")[2])
        return f"...@{host}: no user and no password in a node's URL; use --header"
    if "?" in url or "#" in url:
        return f"{_shown(url)}...: no query and no fragment in a node's URL; use --header"
    return message.removeprefix("Endpoint.url: ")


def _shown(url: str) -> str:
    return url.partition("?")[0].partition("#")[0]
