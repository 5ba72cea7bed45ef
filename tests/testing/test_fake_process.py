import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from aiclient.testing import NodeProcess

from .helpers import RawClient, eventually

CHAT = "/v1/chat/completions"


@pytest.fixture
def node() -> Iterator[NodeProcess]:
    """A process that takes no time to answer."""
    with NodeProcess(prefill=0, token_time=0, tokens=2, keepalive=3600) as node:
        yield node


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_serves_and_can_be_controlled(node: NodeProcess) -> None:
    """The same control as in the process: faults, speed, counters."""
    answer = httpx.post(node.url + CHAT, json={}).json()
    assert answer["choices"][0]["message"]["content"] == f"fake-model on {node.name}: tok0 tok1"
    node.fault("429", retry_after=2, times=1, paths=["/health"])
    response = httpx.get(node.url + "/health")
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert httpx.get(node.url + "/health").is_success
    node.set(tokens=5)
    assert httpx.post(node.url + CHAT, json={}).json()["usage"]["completion_tokens"] == 5
    stats = node.stats()
    assert (stats.received, stats.served, stats.active, stats.fault) == (4, 3, 0, None)


def test_settings_reach_the_process() -> None:
    """Every setting is handed on to the process."""
    with NodeProcess(
        slots=1, queue=0, prefill=3600, model="m", name="-n", api_key="k", host="localhost"
    ) as node:
        assert node.name == "-n"
        headers = {"authorization": "Bearer k"}
        models = httpx.get(node.url + "/v1/models", headers=headers)
        assert models.json()["data"][0]["id"] == "m"
        assert models.headers["x-fake-node"] == "-n"
        assert httpx.get(node.url + "/v1/models").status_code == 401
        with httpx.stream("POST", node.url + CHAT, json={"stream": True}, headers=headers):
            assert httpx.post(node.url + CHAT, json={}, headers=headers).status_code == 503


@pytest.mark.parametrize("fault", ["refuse", "hang", "reset", "garbage", "500"])
def test_it_can_be_healed_of_anything(node: NodeProcess, fault: str) -> None:
    """The control endpoint answers whatever the fault is, refusing included."""
    node.fault(fault)
    if fault == "refuse":
        with pytest.raises(httpx.ConnectError):
            httpx.get(node.url + "/health")
    assert node.stats().fault == fault
    node.heal()
    assert httpx.get(node.url + "/health").is_success


def test_sigkill_and_start_again_on_the_same_port(node: NodeProcess) -> None:
    """kill() ends running streams; start() brings a fresh process to the same port."""
    node.set(prefill=3600)
    first, port = node.pid, node.port
    with RawClient(node) as raw:
        raw.post(b'{"stream": true}')
        raw.read_head()
        node.kill()
        with pytest.raises((EOFError, ConnectionResetError)):
            raw.read_until(b"x")
    with pytest.raises(ConnectionRefusedError):
        RawClient(node)
    assert node.pid is None
    with pytest.raises(RuntimeError, match="not running"):
        node.stats()
    node.heal()
    node.set(prefill=0)
    node.start()
    assert node.port == port
    assert node.pid not in (None, first)
    assert httpx.post(node.url + CHAT, json={}).is_success
    assert node.stats().received == 1


def test_terminate_ends_it_politely(node: NodeProcess) -> None:
    """SIGTERM ends the process, which start() can bring back; a running one is left alone."""
    pid = node.pid
    assert node.start().pid == pid
    node.terminate()
    assert not is_running(pid or 0)
    node.start()
    assert httpx.get(node.url + "/health").is_success


def test_it_notices_a_process_that_died_on_its_own(node: NodeProcess) -> None:
    """A process killed from outside is an error to talk to, and can be started again."""
    pid = node.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: node.pid is None)
    with pytest.raises(OSError, match=r"refused|reset|closed"):
        node.stats()
    node.start()
    assert node.stats().received == 0


def test_wrong_arguments_are_refused_on_the_spot(node: NodeProcess) -> None:
    """Settings, faults and speeds are checked before anything is sent."""
    with pytest.raises(ValueError, match="slots"):
        NodeProcess(slots=0)
    with pytest.raises(ValueError, match="unknown fault"):
        node.fault("nonsense")
    with pytest.raises(ValueError, match="token_time"):
        node.set(token_time=-1)


def test_a_taken_port_is_an_error(node: NodeProcess) -> None:
    """A port that is in use is an OSError."""
    with pytest.raises(OSError, match="in use"):
        NodeProcess(port=node.port).start()


def test_a_process_that_does_not_come_up_is_an_error() -> None:
    """When the process ends before it listens, start() says so and leaves nothing behind."""
    node = NodeProcess(tls=("/nonexistent", "/nonexistent"))
    with pytest.raises(RuntimeError, match="did not come up"):
        node.start()
    assert node.pid is None


def test_tls(tmp_path: Path) -> None:
    """A process serves TLS and is controlled through it."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    with NodeProcess(tls=(certificate, key)) as node:
        node.fault("500")
        assert httpx.get(node.url + "/health", verify=False).status_code == 500


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "stats", b"", 200, ""),
        ("POST", "control", b'{"do": "heal"}', 200, ""),
        ("POST", "control", b'{"do": "fault", "name": "reset", "times": 3}', 200, ""),
        ("POST", "control", b'{"do": "fault", "name": "x"}', 400, "unknown fault"),
        ("POST", "control", b'{"do": "fault"}', 400, "unknown fault"),
        ("POST", "control", b'{"do": "fault", "name": []}', 400, "unknown fault"),
        ("POST", "control", b'{"do": "set", "slots": 0}', 400, "slots"),
        ("POST", "control", b'{"do": "dance"}', 400, "'dance'"),
        ("POST", "control", b"[]", 400, "an object"),
        ("POST", "control", b"{", 400, ""),
        ("GET", "nothing", b"", 404, "/_fake/control"),
    ],
)
def test_the_control_endpoint_by_hand(
    method: str, path: str, body: bytes, status: int, message: str, shared: NodeProcess
) -> None:
    """Any HTTP client can control a node; what is wrong is a 400 that says why."""
    response = httpx.request(method, f"{shared.url}/_fake/{path}", content=body)
    assert response.status_code == status
    if status == 200:
        assert response.json()["received"] == 0
    else:
        assert message in response.json()["error"]["message"]
    assert shared.stats().connections == 0


@pytest.fixture(scope="module")
def shared() -> Iterator[NodeProcess]:
    """One process for tests that change nothing."""
    with NodeProcess() as node:
        yield node


PARENT = """
import os, sys
from aiclient.testing import NodeProcess
node = NodeProcess().start()
print(node.pid, flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


def test_it_dies_with_its_parent() -> None:
    """A node process does not outlive the process that started it, even a killed one."""
    command = [sys.executable, "-c", PARENT]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.communicate("")
    assert parent.returncode == -signal.SIGKILL
    eventually(lambda: not is_running(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_by_hand(number: int) -> None:
    """The command prints where it listens, ignores its standard input, and ends with a signal."""
    command = [sys.executable, "-m", "aiclient.testing.node", "--prefill=0", "--slots", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        assert httpx.get(line.split()[-1] + "/health").is_success
        process.send_signal(number)
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--slots=0"], "slots must be"),
        (["--port=x"], "invalid int"),
        (["--certfile=x"], "belong together"),
        (["--host=256.0.0.1"], ""),
    ],
)
def test_wrong_arguments_of_the_command(arguments: list[str], message: str) -> None:
    """The command says what is wrong, without a traceback."""
    command = [sys.executable, "-m", "aiclient.testing.node", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_running_out_of_files_is_survived(node: NodeProcess) -> None:
    """A node that may open no more files takes up waiting clients once it can."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux lets a limit be set from outside")
    assert node.pid is not None
    opened = len(os.listdir(f"/proc/{node.pid}/fd"))
    _, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (opened + 1, hard))
    with RawClient(node) as first, RawClient(node) as second:
        first.get()
        assert first.read_response().status == 200
        second.get()
        assert second.is_silent()
        first.sock.close()
        assert second.read_response().status == 200
