import pytest

from aiclient.testing import FakeNode, NodeProcess

from .helpers import CHAT, SECRET, Check, finding, run


def test_a_good_node(check: Check, node: FakeNode) -> None:
    """Reachable, both statuses, its model, the latency; one small request, status 0."""
    outcome = check(node.url)
    assert outcome.status == 0
    row = next(line for line in outcome.out.splitlines() if line.startswith(node.url))
    assert row.split()[1:4] == ["yes", "200", "200"]
    assert row.split()[5:] == ["ms", "fake-model", "none"]
    assert "good nodes: 1 of 1" in outcome.out
    (asked,) = [request for request in node.requests if request.path == CHAT]
    assert asked.json()["max_tokens"] == 1
    assert asked.json()["model"] == "fake-model"
    assert asked.headers["endpoint-load-metrics-format"] == "text"


def test_the_same_as_json(check: Check, node: FakeNode) -> None:
    """--json says all that the table says, and nothing else."""
    outcome = check("--json", node.url)
    found = finding(outcome)
    assert outcome.status == 0
    assert found["inference"].pop("seconds") > 0
    assert found["health"].pop("seconds") > 0
    assert found == {
        "node": node.url,
        "ok": True,
        "reachable": True,
        "health": {"path": "/health", "status": 200, "error": None},
        "inference": {"path": CHAT, "status": 200, "error": None},
        "models": ["fake-model"],
        "load_signal": "none",
        "hints": [],
    }


@pytest.mark.parametrize(
    ("fault", "reachable", "health", "hint"),
    [
        ("refuse", False, "refused", "nothing listens on port"),
        ("reset", True, "broken off", "another kind of server, or it is crashing"),
        ("hang", True, "timeout", "no answer within 0.3 s"),
        ("cut_mid_body", True, "broken off", "another kind of server, or it is crashing"),
        ("garbage", True, "not HTTP", "another kind of server, or it is crashing"),
        ("401", True, 401, "a key is missing"),
        ("403", True, 403, "a key is missing"),
        ("404", True, 404, "no OpenAI API here (/v1/models answers 404)"),
        ("429", True, 429, "the node lives and is full"),
        ("500", True, 500, "/health answers 500"),
        ("503", True, 503, "the node lives and is full"),
    ],
)
def test_a_bad_node(
    check: Check,
    node: FakeNode,
    fault: str,
    reachable: bool,
    health: int | str,
    hint: str,
) -> None:
    """Every way of being bad has its words and its hint; status 1."""
    node.fault(fault)
    outcome = check("--json", "--timeout", "0.3", node.url)
    found = finding(outcome)
    assert outcome.status == 1
    assert (found["ok"], found["reachable"]) == (False, reachable)
    assert (found["health"]["status"] or found["health"]["error"]) == health
    assert hint in "\n".join(found["hints"])


@pytest.mark.parametrize("fault", ["500", "hang", "cut_mid_body"])
def test_healthy_but_no_inference(check: Check, node: FakeNode, fault: str) -> None:
    """A node whose health is good and whose answers are not is bad."""
    node.fault(fault, paths=[CHAT])
    outcome = check("--timeout", "0.3", node.url)
    assert outcome.status == 1
    assert f"{CHAT}" in outcome.out
    assert "good nodes: 0 of 1" in outcome.out


def test_without_a_health_route_the_models_show_it_lives(check: Check, node: FakeNode) -> None:
    """/health is not part of OpenAI's API: /v1/models will do."""
    node.fault("404", paths=["/health"])
    outcome = check("--json", node.url)
    assert outcome.status == 0
    assert finding(outcome)["health"]["path"] == "/v1/models"


def test_several_nodes_in_one_table(check: Check, node: FakeNode) -> None:
    """All are asked at once, shown in the order given; one bad node is status 1."""
    with NodeProcess() as other, FakeNode() as hanging, FakeNode() as refusing:
        hanging.fault("hang")
        refusing.fault("refuse")
        urls = [hanging.url, node.url, other.url, refusing.url]
        outcome = check("--timeout", "2", *urls)
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == urls
    assert [line.split()[1] for line in lines[1:5]] == ["yes", "yes", "yes", "no"]
    assert "good nodes: 2 of 4" in outcome.out
    assert outcome.status == 1


def test_urls_may_be_separated_by_commas_and_repeated(check: Check, node: FakeNode) -> None:
    """What aiclient.Client takes as one string is understood here too."""
    outcome = check(f"{node.url},{node.url}/", node.url)
    assert "good nodes: 1 of 1" in outcome.out


def test_the_key_may_come_from_the_environment_or_a_header(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the key 401; with it, from either place, 200. It is never printed."""
    with FakeNode(prefill=0, token_time=0, api_key=SECRET) as node:
        assert "a key is missing" in check(node.url).out
        assert check("--header", f"Authorization: Bearer {SECRET}", node.url).status == 0
        assert "is not accepted" in check("--key", f"{SECRET}-not", node.url).out
        monkeypatch.setenv("AICLIENT_API_KEY", SECRET)
        assert check(node.url).status == 0


@pytest.mark.parametrize("fault", ["refuse", "reset", "hang", "garbage", "401", "500"])
def test_no_secret_is_printed_whatever_happens(check: Check, node: FakeNode, fault: str) -> None:
    """The fixture looks at all that is printed."""
    node.fault(fault)
    for form in ((), ("--json",)):
        arguments = ("--key", SECRET, "--header", f"x-other: {SECRET}", "--timeout", "0.2")
        assert check(*form, *arguments, node.url).status == 1


def test_as_a_process(node: FakeNode) -> None:
    """The command itself: no colours in a pipe even where FORCE_COLOR is set, no warnings."""
    env = {"FORCE_COLOR": "1", "PYTHONWARNINGS": "error"}
    outcome = run("check", node.url, env=env)
    assert (outcome.status, outcome.err) == (0, "")
    assert all(line.isprintable() for line in outcome.out.splitlines())
