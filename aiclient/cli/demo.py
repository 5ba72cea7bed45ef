"""`aiclient demo`: four node processes, one client, and bad luck."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import click
from rich.console import Console

import aiclient
from aiclient.testing import NodeProcess

from .picture import Log, Observer
from .screen import Screen, screen_for
from .story import Stage, endpoint_of, missing, new_node, play
from .summary import print_summary, shortcomings
from .traffic import STREAM_SECONDS, Traffic

_NODES = 4
# What a process of ours can do to us: not start, or die at the wrong moment.
_PROCESS_TROUBLE = (OSError, RuntimeError, ValueError, HTTPException)


def run(seconds: float, seed: int | None) -> int:
    """Run the demo; the exit status."""
    # Not left to rich, which takes a pipe for a terminal when FORCE_COLOR is set.
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    # What the client logs is shown on the screen; nothing may be written across it.
    logging.getLogger("aiclient").addHandler(logging.NullHandler())
    try:
        with screen_for(console) as screen:
            screen.note(f"starting {_NODES} AI nodes ...")
            with _nodes() as nodes:
                demo = _Demo(seconds, random.Random(seed), nodes, screen)
                asyncio.run(demo.perform())
    except* _NobodyReadsError:
        # What is still buffered has nowhere to go: Python must not try, and complain, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    return demo.report(console)


@contextlib.contextmanager
def _nodes() -> Iterator[list[NodeProcess]]:
    nodes = [new_node(f"node-{number}") for number in range(1, _NODES + 1)]
    # Each takes a moment to start, and another to end.
    with ThreadPoolExecutor() as pool:
        try:
            try:
                list(pool.map(NodeProcess.start, nodes))
            except _PROCESS_TROUBLE as exc:
                raise click.ClickException(f"the nodes cannot be started: {exc}") from exc
            yield nodes
        finally:
            list(pool.map(NodeProcess.stop, nodes))


class _NobodyReadsError(Exception):
    """The other end of the pipe we write to is gone."""


class _Demo:
    def __init__(
        self, seconds: float, rng: random.Random, nodes: list[NodeProcess], screen: Screen
    ) -> None:
        self._seconds = seconds
        self._rng = rng
        self._nodes = nodes
        self._screen = screen
        self._broken = ""

    async def perform(self) -> None:
        """Make the calls, play the story and show both, until the last call has ended."""
        async with aiclient.AsyncClient(map(endpoint_of, self._nodes)) as client:
            self._log = log = Log()
            client.balancer.subscribe(log.hear)
            self._traffic = traffic = Traffic(client, self._rng)
            self._stage = Stage(self._seconds, client, traffic, self._nodes, log.tell)
            observer = Observer(client, traffic.tally, log, self._seconds)
            async with asyncio.TaskGroup() as group:
                painter = group.create_task(self._show(observer))
                story = group.create_task(self._play())
                # The last streams end when the time is over.
                await traffic.drive(self._seconds - STREAM_SECONDS)
                story.cancel()
                painter.cancel()
            self._draw(observer)

    async def _show(self, observer: Observer) -> None:
        while True:
            self._draw(observer)
            await asyncio.sleep(self._screen.every)

    def _draw(self, observer: Observer) -> None:
        try:
            self._screen.show(observer.picture())
        except (BrokenPipeError, SystemExit):  # newer versions of rich make the second of the first
            raise _NobodyReadsError from None

    async def _play(self) -> None:
        try:
            await play(self._stage)
        except _PROCESS_TROUBLE as trouble:
            self._broken = f"{type(trouble).__name__}: {trouble}"

    def report(self, console: Console) -> int:
        """Print the summary; the exit status."""
        tally = self._traffic.tally
        names = [node.name for node in self._nodes]
        print_summary(console, tally, names, self._log.entries)
        found = shortcomings(tally, self._stage.killed_streams, missing(self._stage), self._broken)
        for each in found:
            sys.stderr.write(f"aiclient demo: {each}\n")
        return 1 if found else 0
