from aiclient.simulation import Event, Fleet, Result, Scenario

SMALL = Fleet(nodes=4, slots=4)


def made(*events: Event, **values: object) -> Scenario:
    """A small fleet for ten minutes, with these events."""
    given = {"name": "made", "fleet": SMALL, "clients": 2, "seconds": 600.0, **values}
    return Scenario(events=events, **given)  # type: ignore[arg-type]


def share(result: Result, node: int, since: float, until: float) -> float:
    """The mean share of a node within these parts, 0 to 1, of the run."""
    parts = result.shares[f"node {node}"]
    chosen = parts[int(since * len(parts)) : int(until * len(parts))]
    return sum(chosen) / len(chosen)
