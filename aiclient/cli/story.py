"""What happens to the nodes of the demo, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiclient
from aiclient.testing import NodeProcess

from .traffic import PREFILL, TOKEN_TIME, Traffic

SLOWER = 4
_LOOK_EVERY = 0.01
# A kill in the middle of one stream will do, but of several it shows more: this share of the whole
# time is waited for that.
_WISHED = 2
_WISH_SHARE = 0.03


def new_node(name: str) -> NodeProcess:
    """A node of the demo, not started yet."""
    return NodeProcess(
        name=name, model="demo", slots=10, prefill=PREFILL, token_time=TOKEN_TIME, keepalive=30.0
    )


def endpoint_of(node: NodeProcess) -> aiclient.Endpoint:
    """How the client is told about a node."""
    return aiclient.Endpoint(node.url, name=node.name)


@dataclass(slots=True)
class Stage:
    """What the story acts upon, and what it leaves behind.

    - `seconds`: how long all of it takes.
    - `nodes`: all processes, those that join later included.
    - `tell`: is called with each thing that happens.
    - `killed_streams`: streams that were running on the killed node at that moment.
    - `played`: the scenes that took place.
    """

    seconds: float
    client: aiclient.AsyncClient
    traffic: Traffic
    nodes: list[NodeProcess]
    tell: Callable[[str], None]
    killed_streams: int = 0
    played: list[Scene] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scene:
    """`act` comes at this share of the whole time; `what` is said if it could not."""

    at: float
    what: str
    act: Callable[[Stage], Awaitable[None]]


async def slow_down(stage: Stage) -> None:
    """Node 1 computes at a quarter of its speed."""
    node = stage.nodes[0]
    await asyncio.to_thread(node.set, prefill=SLOWER * PREFILL, token_time=SLOWER * TOKEN_TIME)
    stage.tell(f"{node.name} slowed down {SLOWER}x")


async def kill(stage: Stage) -> None:
    """Node 2 dies in the middle of what it streams."""
    node, traffic = stage.nodes[1], stage.traffic
    wish_until = time.monotonic() + _WISH_SHARE * stage.seconds
    while True:
        streams = traffic.midway(node.name)
        if streams >= _WISHED or (streams and time.monotonic() > wish_until):
            break
        await asyncio.sleep(_LOOK_EVERY)
    # Nothing is awaited from here on: the streams counted are running when the signal is sent.
    streams = stage.killed_streams = traffic.running(node.name)
    traffic.killed(node.name)
    node.kill()
    plural = "s" if streams > 1 else ""
    stage.tell(f"{node.name} killed (SIGKILL) in the middle of {streams} stream{plural}")


async def start_again(stage: Stage) -> None:
    """Node 2 is back on its port; nobody tells the client."""
    node = stage.nodes[1]
    await asyncio.to_thread(node.start)
    stage.tell(f"{node.name} started again; the client finds out by itself")


async def speed_up(stage: Stage) -> None:
    """Node 1 is what it was."""
    node = stage.nodes[0]
    await asyncio.to_thread(node.set, prefill=PREFILL, token_time=TOKEN_TIME)
    stage.tell(f"{node.name} back at full speed")


async def overload(stage: Stage) -> None:
    """Node 3 says it is full, whatever it is asked."""
    node = stage.nodes[2]
    await asyncio.to_thread(node.fault, "503")
    stage.tell(f"{node.name} answers 503 to every new call")


async def relieve(stage: Stage) -> None:
    """Node 3 takes calls again."""
    node = stage.nodes[2]
    await asyncio.to_thread(node.heal)
    stage.tell(f"{node.name} takes calls again")


async def add(stage: Stage) -> None:
    """Node 5 joins."""
    node = new_node(f"node-{len(stage.nodes) + 1}")
    stage.nodes.append(node)
    await asyncio.to_thread(node.start)
    stage.tell(f"{node.name} added with client.balancer.update(...)")
    stage.client.balancer.update([endpoint_of(each) for each in stage.nodes])


STORY = (
    Scene(0.10, "one node slowed down", slow_down),
    Scene(0.27, "one node killed in mid-stream", kill),
    # Before the breaker's first probe, 5 s after the kill: in 30 s people see it come back.
    Scene(0.39, "the killed node started again", start_again),
    Scene(0.43, "the slow node at full speed again", speed_up),
    Scene(0.52, "one node answering 503", overload),
    # A newcomer is brought to its full share over 10 s.
    Scene(0.58, "one node added", add),
    Scene(0.65, "the full node taking calls again", relieve),
)


async def play(stage: Stage) -> None:
    """Let it happen, scene after scene."""
    begun = time.monotonic()
    for scene in STORY:
        await asyncio.sleep(begun + scene.at * stage.seconds - time.monotonic())
        await scene.act(stage)
        stage.played.append(scene)


def missing(stage: Stage) -> list[str]:
    """What of the story did not take place."""
    return [scene.what for scene in STORY if scene not in stage.played]
