"""The commands and their options. What they do is imported when they run."""

from __future__ import annotations

import click

import aiclient as package

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(package.__version__, prog_name="aiclient", message="%(prog)s %(version)s")
def aiclient() -> None:
    """Client-side load balancing for AI calls.

    See it at work: aiclient demo

    Look at your own nodes: aiclient check http://10.0.0.1:8000 http://10.0.0.2:8000

    Look at a running service: aiclient top http://127.0.0.1:8089

    Ask which policy suits your fleet: aiclient simulate slow-node
    """


@aiclient.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=5, max=3600),
    default=30.0,
    show_default=True,
    help="How long it runs; the story is stretched to it.",
)
@click.option("--seed", type=int, help="Repeat the same calls in the same order.")
def demo(seconds: float, seed: int | None) -> int:
    """Kill a node, and watch nobody notice.

    Starts four AI nodes (fake ones, each a process of its own), sends chat calls through one
    aiclient.AsyncClient, more than half of them streams, and meanwhile slows one node down, kills
    one with SIGKILL in the middle of its streams, lets one answer 503 and adds one.

    The summary begins with one line: calls: N  failed: 0  retried: M  interrupted: K

    Interrupted are the streams that had begun on the killed node: their callers had a part of the
    answer already, so they are told (aiclient.StreamInterrupted). Whatever else meets a bad node
    is retried on another one.

    Exit status: 0 when no call failed and a node died in mid-stream, 1 otherwise, 130 after
    Ctrl-C.
    """
    from .demo import run

    return run(seconds, seed)


@aiclient.command()
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=10.0,
    show_default=True,
    help="Seconds each request may take. Loading a model can take minutes.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME:VALUE",
    multiple=True,
    help="Send this header too, for example 'Authorization: Bearer ...'. Repeatable.",
)
@click.option(
    "--key",
    envvar="AICLIENT_API_KEY",
    show_envvar=True,
    help="Send 'Authorization: Bearer KEY'. Better put it into the environment.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def check(
    urls: tuple[str, ...],
    timeout: float,
    headers: tuple[str, ...],
    key: str | None,
    as_json: bool,
) -> int:
    """Ask each of your nodes how it is.

    URL is a node as you give it to aiclient.Client: http://10.0.0.1:8000, without the /v1 that
    the SDK's base_url ends in. Each node gets one health request and one inference request for a
    single token, directly. Keys and header values are never printed.

    Exit status: 0 when every node is good, 1 when one is not, 2 for wrong usage.
    """
    from .check import run

    return run(urls, headers, key, timeout, as_json=as_json)


@aiclient.command()
@click.argument("url", metavar="URL")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Look once, print it, and end.")
def top(url: str, interval: float, once: bool) -> int:
    """Watch a service's balancers, live.

    URL is a status page: where the service has mounted aiclient.status.asgi_app or wsgi_app, or
    serves it with aiclient.status.serve. Ends with Ctrl-C. Where the output is no terminal it is
    a line for each balancer at every look, and one for every event.

    Exit status: 0; 1 when at the start nothing answers there, or no status page; 2 for wrong
    usage.
    """
    from .top import run

    return run(url, interval, once=once)


@aiclient.command()
@click.argument("scenarios", metavar="[SCENARIO]...", nargs=-1)
@click.option(
    "--picker",
    "pickers",
    multiple=True,
    metavar="NAME",
    help="LeastLoad, RoundRobin, ..., or your own as module:Class. Repeatable. Default: all.",
)
@click.option("--clients", type=click.IntRange(min=1), help="Client processes.")
@click.option("--nodes", type=click.IntRange(min=1), help="Nodes at the start.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="How long calls arrive, in virtual time.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Runs of each; the mean is shown.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--plot", "plot_to", metavar="FILE", help="Draw it too, as .svg or .png.")
def simulate(
    scenarios: tuple[str, ...],
    pickers: tuple[str, ...],
    clients: int | None,
    nodes: int | None,
    seconds: float | None,
    seeds: int,
    as_json: bool,
    plot_to: str | None,
) -> int:
    """Ask which policy suits a fleet, in virtual time.

    SCENARIO is one that comes with aiclient, or your own file, .toml or .json; all that come with
    it when none is named. --clients, --nodes and --seconds replace what a scenario says.

    The real balancer runs before simulated nodes, and beside each policy stands the ideal: one
    queue before all healthy slots. Waiting is a call's latency less its own work.

    Needs the extra "simulation", and "plots" for --plot.

    Exit status: 0, 1 when something is wrong with a scenario, 2 for wrong usage.
    """
    from .simulate import run

    return run(scenarios, pickers, clients, nodes, seconds, seeds, as_json=as_json, plot_to=plot_to)
