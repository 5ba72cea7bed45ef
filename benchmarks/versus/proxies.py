"""The proxies, each started with what its own documentation advises for such a service.

All of them retry what failed on another node, also a POST: these calls may be repeated.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

__all__ = ["PROXIES", "is_here", "proxy"]

_START_TIMEOUT = 60.0


def _nginx(port: int, nodes: Sequence[str], folder: Path) -> list[str]:
    # https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive
    # https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream
    servers = " ".join(f"server {_address(node)};" for node in nodes)
    text = f"""
        daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log crit;
        events {{ worker_connections 4096; }}
        http {{
          access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          upstream nodes {{ least_conn; {servers} keepalive 64; }}
          server {{
            listen 127.0.0.1:{port};
            location / {{
              proxy_pass http://nodes; proxy_http_version 1.1; proxy_set_header Connection "";
              proxy_connect_timeout 5s;
              proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;
            }}
          }}
        }}"""
    return ["nginx", "-c", str(_written(folder / "nginx.conf", text))]


def _haproxy(port: int, nodes: Sequence[str], folder: Path) -> list[str]:
    # https://docs.haproxy.org/2.6/configuration.html: retry-on, observe, httpchk
    servers = "\n".join(
        f"  server node{number} {_address(node)}" for number, node in enumerate(nodes)
    )
    text = f"""
global
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  retries 3
  option redispatch 1
  retry-on all-retryable-errors
frontend service
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  balance leastconn
  option httpchk GET /health
  http-reuse safe
  default-server check inter 2s fall 3 rise 2 observe layer7 error-limit 10 on-error mark-down
{servers}
"""
    return ["haproxy", "-db", "-q", "-f", str(_written(folder / "haproxy.cfg", text))]


def _envoy(port: int, nodes: Sequence[str], folder: Path) -> list[str]:
    # https://www.envoyproxy.io/docs/envoy/latest/faq/load_balancing/transient_failures
    route = {
        "cluster": "nodes",
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "5xx,reset,connect-failure,refused-stream",
            "num_retries": 3,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": _typed(
                        "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    ),
                }
            ],
            "host_selection_retry_max_attempts": 5,
        },
    }
    manager = {
        **_typed("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "service",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "service",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": route}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": _typed("extensions.filters.http.router.v3.Router"),
            }
        ],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {
        "address": _socket_address("127.0.0.1", port),
        "filter_chains": [{"filters": [network]}],
    }
    endpoints = [
        {"endpoint": {"address": _socket_address(*_address(node).split(":"))}} for node in nodes
    ]
    cluster = {
        "name": "nodes",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "outlier_detection": {"consecutive_5xx": 5, "interval": "5s", "base_ejection_time": "10s"},
        # By default only three retries at a time, each of which lasts as long as its answer.
        "circuit_breakers": {"thresholds": [{"max_retries": 1024}]},
        "load_assignment": {"cluster_name": "nodes", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    text = json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
    config = str(_written(folder / "envoy.json", text))
    envoy = str(Path(sys.executable).with_name("envoy"))
    return [envoy, "-c", config, "-l", "critical", "--use-dynamic-base-id", "--concurrency", "2"]


def _router(module: str) -> list[str]:
    return [sys.executable, "-m", f"{module}.launch_router", "--policy", "power_of_two"]


def _sglang(port: int, nodes: Sequence[str], folder: Path) -> list[str]:
    # Retries and circuit breaker are on by default.
    own = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    return [*_router("sglang_router"), *own, "--log-level", "error", "--worker-urls", *nodes]


def _vllm(port: int, nodes: Sequence[str], folder: Path) -> list[str]:
    own = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    return [*_router("vllm_router"), *own, "--log-level", "error", "--worker-urls", *nodes]


PROXIES = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "sglang-router": _sglang,
    "vllm-router": _vllm,
}


def is_here(name: str) -> bool:
    """Whether it is installed."""
    if name in ("nginx", "haproxy"):
        return shutil.which(name) is not None
    if name == "envoy":
        return Path(sys.executable).with_name("envoy").exists()
    return importlib.util.find_spec(name.replace("-", "_")) is not None


@contextlib.contextmanager
def proxy(name: str, nodes: Sequence[str]) -> Iterator[str]:
    """The URL of a proxy before these nodes, which answers."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)  # a proxy started by root works as somebody else
        command = PROXIES[name](port, nodes, Path(folder))
        log = (Path(folder) / "output").open("wb")
        with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _wait_for(f"http://127.0.0.1:{port}", process, Path(log.name))
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
    until = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=5)
            if answer.status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} did not come up:\n{output.read_text()[-2000:]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _address(node: str) -> str:
    return node.removeprefix("http://")


def _socket_address(host: str, port: str | int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _typed(name: str) -> dict[str, str]:
    return {"@type": f"type.googleapis.com/envoy.{name}"}


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
