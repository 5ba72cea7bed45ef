import threading
import time
from collections.abc import Iterator

import pytest

import aiclient
from aiclient.status import serve
from aiclient.testing import FakeNode

from .browser import CHROMIUM, Page, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
HOSTILE = "<img src=x onerror=document.title='hit'><script>document.title='hit'</script>"
CANARY = "c4n4ry-s3cret"
STATES = "[...document.querySelectorAll('.node')].map((row) => row.dataset.state)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    """One browser for all tests here."""
    with browser() as page:
        yield page


@pytest.fixture
def page(chromium: Page) -> Iterator[Page]:
    """A page of a usual size; at the end the browser has had nothing to complain about."""
    chromium.size(1100, 800)
    chromium.problems.clear()
    yield chromium
    problems = list(chromium.problems)
    chromium.open("about:blank")
    assert problems == []


@pytest.fixture
def nodes() -> Iterator[list[FakeNode]]:
    """Three nodes that answer at once."""
    with FakeNode(prefill=0) as a, FakeNode(prefill=0) as b, FakeNode(prefill=0) as c:
        yield [a, b, c]


class Traffic:
    """Calls, one after the other, until the end."""

    def __init__(self, client: aiclient.Client) -> None:
        self._client = client
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.01):
            self._client.post("/v1/chat/completions", json={"messages": [], "max_tokens": 1})

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()


def test_an_ejection_is_seen_within_two_seconds(page: Page, nodes: list[FakeNode]) -> None:
    """A node dies under calls; the page shows it without a reload."""
    endpoints = [
        aiclient.Endpoint(node.url, name=f"gpu-{number}") for number, node in enumerate(nodes)
    ]
    ejected: list[float] = []

    def hear(event: aiclient.Event) -> None:
        if event.kind is aiclient.EventKind.EJECTED:
            ejected.append(time.monotonic())

    with (
        aiclient.Client(endpoints, picker=aiclient.RoundRobin()) as client,
        serve(client.balancer, port=0) as server,
        Traffic(client),
    ):
        client.balancer.subscribe(hear)
        page.open(server.url)
        page.wait_for(f"{STATES}.join() === 'ready,ready,ready'")
        page.evaluate("window.mark = 'not reloaded'")
        loads = page.navigations
        nodes[1].kill()
        page.wait_for(f"{STATES}[1] === 'ejected'")
        seen = time.monotonic()
        assert seen - ejected[0] <= 2.0
        text = page.text()
        assert (page.evaluate("window.mark"), page.navigations) == ("not reloaded", loads)
    assert "Connection refused" in text
    assert "2 ready, 1 ejected" in text
    assert "ejected gpu-1: cannot connect" in text


def test_it_shows_shares_and_draws_plots(page: Page, nodes: list[FakeNode]) -> None:
    """Numbers that follow the calls, and a line for each that grows."""
    with (
        aiclient.Client([node.url for node in nodes]) as client,
        serve(client.balancer, port=0) as server,
        Traffic(client),
    ):
        page.open(server.url)
        page.wait_for("document.querySelectorAll('.node').length === 3")
        page.wait_for("/[1-9]\\d? %/.test(document.querySelector('.measure').textContent)")
        page.wait_for("/\\d ms/.test(document.querySelector('.node').textContent)")
        line = "document.querySelectorAll('.node svg path')[2].getAttribute('d')"
        page.wait_for(f"{line}.split('L').length >= 3")
        assert page.evaluate("document.querySelectorAll('.node svg path').length") == 9


def test_text_from_outside_stays_text(page: Page) -> None:
    """Markup in names, labels, zones and reasons is shown as it is written, and runs nowhere."""
    node = aiclient.Endpoint(
        "http://a:1",
        name=HOSTILE,
        zone=HOSTILE,
        labels={HOSTILE: HOSTILE},
        headers={"Authorization": f"Bearer {CANARY}"},
    )
    balancer = aiclient.Balancer([node])
    balancer.note(aiclient.EventKind.DISCOVERY_FAILED, f"{HOSTILE} {CANARY}")
    with serve({HOSTILE: balancer}, port=0) as server:
        page.open(server.url)
        page.wait_for("document.querySelectorAll('.node').length === 1")
        assert page.text().count(HOSTILE) >= 5
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert page.evaluate("document.title") == "aiclient"
        whole = page.evaluate("document.documentElement.outerHTML")
    assert CANARY not in whole
    assert "[hidden]" in whole


def test_several_balancers_panic_and_a_closed_one(page: Page) -> None:
    """Each has its heading; what is alarming is said above its nodes."""
    policy = aiclient.BreakerPolicy(consecutive=1)
    ill = aiclient.Balancer(["http://a:1", "http://b:1"], breaker=policy)
    closed = aiclient.Balancer(["http://c:1"])
    for _ in range(4):
        with pytest.raises(OSError, match="broken"), ill.lease():
            raise OSError("broken")
    assert ill.panic
    closed.close()
    with serve({"chat": ill, "embeddings": closed}, port=0) as server:
        page.open(server.url)
        page.wait_for("document.querySelectorAll('.node').length === 3")
        text = page.text()
    assert text.index("chat") < text.index("panic: ") < text.index("embeddings")
    assert text.index("embeddings") < text.index("the balancer is closed")


def test_when_the_service_is_gone_it_says_so(chromium: Page, balancer: aiclient.Balancer) -> None:
    """What was seen last stays, marked; when the service is back, so is the page."""
    with serve(balancer, port=0) as server:
        chromium.open(server.url)
        chromium.wait_for("document.querySelectorAll('.node').length === 2")
    chromium.wait_for("document.getElementById('contact').textContent.startsWith('no answer')")
    assert chromium.evaluate("document.getElementById('balancers').className") == "lost"
    assert "10.0.0.2" in chromium.text()
    with serve(balancer, port=server.port):
        chromium.wait_for("document.getElementById('contact').textContent.startsWith('live')")
        assert chromium.evaluate("document.getElementById('balancers').className") == ""
    chromium.open("about:blank")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_on_a_phone(page: Page, scheme: str) -> None:
    """Nothing is wider than the screen, and the text stands out from what is behind it."""
    node = aiclient.Endpoint(
        "http://inference-17.eu-central-1.internal.example:8000/a/very/long/path/to/the/model",
        name="a-name-without-a-place-to-break-it-" * 5,
    )
    balancer = aiclient.Balancer([node, "http://10.0.0.2:8000"])
    balancer.eject(node, 60)
    page.prefer(scheme)
    page.size(360, 740, 2, phone=True)
    with serve(balancer, port=0) as server:
        page.open(server.url)
        page.wait_for("document.querySelectorAll('.node').length === 2")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        colours = [
            page.evaluate(f"getComputedStyle(document.querySelector('{where}')).{what}")
            for where, what in [
                ("body", "backgroundColor"),
                ("body", "color"),
                (".nodes", "backgroundColor"),
                (".ejected .state", "color"),
                (".small", "color"),
            ]
        ]
    paper, ink, card, alarm, small = map(_luminance, colours)
    assert (paper > ink) == (scheme == "light")
    assert _contrast(paper, ink) > 7
    assert min(_contrast(card, alarm), _contrast(card, small)) > 4.5  # WCAG AA


def _luminance(colour: str) -> float:
    """Of `rgb(1, 2, 3)`, as WCAG defines it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
