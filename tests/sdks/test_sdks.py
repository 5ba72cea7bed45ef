"""Every SDK, its real self, over nodes of which one dies; run by `nox -s sdks`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

import aiclient
from aiclient.testing import FakeNode, NodeProcess

from .harness import KEY, AsyncCalls, Way, ours, ways

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("default"),  # the SDKs warn of each other
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]
WAYS = pytest.mark.parametrize("way", ways(), ids=str)
CALLS = 200
AT_ONCE = 6
KILLED_AT = 60
WORDS = "tok0 tok1 tok2 tok3"
PATIENCE = 20.0


@pytest.fixture
def anyio_backend() -> str:
    """What all SDKs run on."""
    return "asyncio"


@pytest.fixture(scope="module")
def processes() -> Iterator[list[NodeProcess]]:
    """Three nodes that can be killed."""
    nodes = [NodeProcess(slots=64, prefill=0.01, token_time=0, tokens=4) for _ in range(3)]
    try:
        yield [node.start() for node in nodes]
    finally:
        for node in nodes:
            node.stop()


@pytest.fixture
def nodes() -> Iterator[list[FakeNode]]:
    """Three quick nodes."""
    nodes = [FakeNode(prefill=0, token_time=0, tokens=4, name=name) for name in "abc"]
    try:
        yield [node.start() for node in nodes]
    finally:
        for node in nodes:
            node.stop()


def urls(nodes: list[FakeNode] | list[NodeProcess]) -> list[str]:
    """Where they are."""
    return [node.url for node in nodes]


async def whole(calls: AsyncCalls, *, stream: bool, headers: dict[str, str] | None = None) -> str:
    """The whole text of one answer."""
    if not stream:
        return await calls.ask(headers or {})
    return "".join([text async for text in calls.stream(headers or {})])


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fail when it does not within a long time."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


@WAYS
async def test_a_killed_node_costs_no_call(way: Way, processes: list[NodeProcess]) -> None:
    """Of 200 calls, half of them streams, none fails when one of three nodes is killed."""
    victim = processes[0].start()
    failed: list[BaseException] = []
    numbers = iter(range(CALLS))

    async def worker(calls: AsyncCalls) -> None:
        for number in numbers:
            if number == KILLED_AT:
                assert victim.stats().served > 0
                victim.kill()
            try:
                text = await whole(calls, stream=number % 2 == 1)
                assert text.endswith(WORDS)
            except Exception as exc:
                failed.append(exc)

    async with way.open(urls(processes)) as calls, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker(calls))
    assert failed == []
    assert next(numbers, None) is None


@WAYS
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_what_had_not_begun_is_moved(
    way: Way, nodes: list[FakeNode], *, stream: bool
) -> None:
    """Calls waiting on a node that dies are answered by the others."""
    victim = nodes[0]
    victim.fault("hang")
    async with way.open(urls(nodes)) as calls:
        tasks = [asyncio.create_task(whole(calls, stream=stream)) for _ in range(AT_ONCE)]
        await eventually(lambda: victim.active > 0)
        victim.kill()
        assert all(text.endswith(WORDS) for text in await asyncio.gather(*tasks))


@WAYS
async def test_a_stream_that_had_begun_raises_the_sdks_error(
    way: Way, nodes: list[FakeNode]
) -> None:
    """A stream whose node dies in the middle is never repeated: it raises."""
    for node in nodes:
        node.fault("hang_mid_stream", tokens=2)
    async with way.open(urls(nodes)) as calls:
        texts = calls.stream({})
        while not await anext(texts):
            pass
        next(node for node in nodes if node.active).kill()
        with pytest.raises(way.sdk.interrupted) as caught:
            async for _ in texts:
                pass
    assert "broke off" in str(ours(caught.value, aiclient.StreamInterrupted))
    assert len(aiclient.attempts_of(caught.value)) == 1
    assert sum(len(node.requests) for node in nodes) == 1


@WAYS
async def test_the_options_of_a_block_reach_the_balancer(way: Way, nodes: list[FakeNode]) -> None:
    """`aiclient.options` chooses the node and sets the deadline, in plain calls and streams."""
    async with way.open(urls(nodes)) as calls:
        for node in nodes:
            with aiclient.options(pin=node.url):
                assert (await whole(calls, stream=False)).endswith(WORDS)
                assert (await whole(calls, stream=True)).endswith(WORDS)
            assert len(node.requests) == 2
            node.fault("hang")
        with aiclient.options(deadline=0.05), pytest.raises(Exception) as caught:  # noqa: PT011
            await calls.ask({})
    assert "deadline" in str(ours(caught.value, aiclient.DeadlineExceeded)).lower()


@WAYS
async def test_the_headers_of_a_call_reach_the_balancer_alone(
    way: Way, nodes: list[FakeNode]
) -> None:
    """`x-aiclient-*` headers act as the options do, and no node ever sees one."""
    async with way.open(urls(nodes)) as calls:
        for node in nodes:
            headers = {"x-aiclient-pin": node.url, "x-aiclient-key": "k", "x-other": "o"}
            await whole(calls, stream=False, headers=headers)
            await whole(calls, stream=True, headers=headers)
            for request in node.requests:
                assert request.headers["x-other"] == "o"
                assert not [name for name in request.headers if name.startswith("x-aiclient")]
            assert len(node.requests) == 2


@WAYS
async def test_the_same_key_goes_to_the_same_node(way: Way, nodes: list[FakeNode]) -> None:
    """With `ConsistentHash`, the key of a block and the key in a header name one node."""
    async with way.open(urls(nodes), picker=aiclient.ConsistentHash()) as calls:
        with aiclient.options(key="user-42"):
            said = {await calls.ask({}) for _ in range(3)}
        said |= {await calls.ask({"x-aiclient-key": "user-42"}) for _ in range(3)}
    assert len(said) == 1


@WAYS
async def test_nodes_have_their_own_paths_and_keys(way: Way) -> None:
    """A node below a path of its own is asked there, with its own key instead of the SDK's."""
    header = way.sdk.key_header
    scheme = "Bearer " if header == "authorization" else ""
    with (
        FakeNode(prefix="/proxy/a", api_key="a", prefill=0, token_time=0, tokens=4) as a,
        FakeNode(prefix="/proxy/b", api_key="b", prefill=0, token_time=0, tokens=4) as b,
    ):
        endpoints = [
            aiclient.Endpoint(node.url, headers={header: scheme + key})
            for node, key in ((a, "a"), (b, "b"))
        ]
        async with way.open(endpoints, picker=aiclient.RoundRobin()) as calls:
            for number in range(4):
                assert (await whole(calls, stream=number > 1)).endswith(WORDS)
        for node, prefix in ((a, "/proxy/a/"), (b, "/proxy/b/")):
            assert len(node.requests) == 2
            for request in node.requests:
                assert request.path.startswith(prefix)
                assert request.headers["host"] == f"{node.host}:{node.port}"
                assert KEY not in request.headers[header]


@WAYS
async def test_a_nodes_own_error_does_not_say_where_it_is(way: Way, nodes: list[FakeNode]) -> None:
    """The error an SDK makes of a node's answer names the service, not the node."""
    for node in nodes:
        node.fault("503")
    async with way.open(urls(nodes), retry=aiclient.RetryPolicy(max_wait=0)) as calls:
        with pytest.raises(way.sdk.answered) as caught:
            await calls.ask({})
    assert not [node for node in nodes if str(node.port) in str(caught.value)]


@WAYS
async def test_no_node_available_says_why(way: Way, nodes: list[FakeNode]) -> None:
    """With all nodes out, a call ends at once; the cause names each node and why it is out."""
    outlier = aiclient.OutlierPolicy(fail_fast=True)
    breaker = aiclient.BreakerPolicy(consecutive_connect=1)
    for node in nodes:
        node.fault("refuse")
    async with way.open(urls(nodes), outlier=outlier, breaker=breaker) as calls:
        with pytest.raises(way.sdk.no_node):
            await calls.ask({})  # finds out
        with pytest.raises(way.sdk.no_node) as caught:
            await calls.ask({})
    reason = str(ours(caught.value, aiclient.NoNodeAvailable))
    assert all(node.url in reason for node in nodes)
    assert "refused" in reason


@WAYS
async def test_no_node_available_as_an_answer(way: Way, nodes: list[FakeNode]) -> None:
    """With `no_node="answer"` it is a 503 to the SDK, with the same message."""
    outlier = aiclient.OutlierPolicy(fail_fast=True, no_node="answer")
    breaker = aiclient.BreakerPolicy(consecutive_connect=1)
    for node in nodes:
        node.fault("refuse")
    async with way.open(urls(nodes), outlier=outlier, breaker=breaker) as calls:
        with pytest.raises(way.sdk.no_node):
            await calls.ask({})  # finds out
        with pytest.raises(way.sdk.answered) as caught:
            await calls.ask({})
    assert nodes[0].url in str(caught.value)
