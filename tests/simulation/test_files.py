import json
from pathlib import Path

import pytest

from aiclient import ConfigurationError, simulation

BAD = [
    ({"cals": 1}, "Scenario.cals"),
    ({"seconds": -1}, "Scenario.seconds"),
    ({"seconds": float("nan")}, "Scenario.seconds"),
    ({"seconds": 9, "warm_up": 9}, "Scenario.warm_up"),
    ({"clients": "many"}, "Scenario.clients"),
    ({"clients": True}, "Scenario.clients"),
    ({"what": 7}, "what"),
    ([], "Scenario"),
    (7, "Scenario"),
    ({"fleet": []}, "fleet"),
    ({"fleet": {"nodes": 0}}, "Fleet.nodes"),
    ({"fleet": {"nodes": 10**9}}, "Fleet.nodes"),
    ({"fleet": {"queue": -1}}, "Fleet.queue"),
    ({"fleet": {"groups": {"nodes": 1}}}, "fleet.groups"),
    ({"fleet": {"groups": [{"nodes": 0.5}, {"nodes": 0.6}]}}, "Fleet.groups"),
    ({"fleet": {"groups": [{}]}}, "fleet.groups[0]"),
    ({"fleet": {"groups": [{"nodes": 0.5, "speed": 2}]}}, "Group.speed"),
    ({"workload": {"load": 0}}, "Workload.load"),
    ({"workload": {"timeout": float("inf")}}, "Workload.timeout"),
    ({"workload": {"arrivals": "now and then"}}, "Workload.arrivals"),
    ({"workload": {"idempotent": "yes"}}, "idempotent"),
    ({"events": {}}, "events"),
    ({"events": ["kill"]}, "events[0]"),
    ({"events": [{"at": 3}]}, "events[0]"),
    ({"events": [{"kind": "earthquake"}]}, "Event.kind"),
    ({"events": [{"kind": ["kill"]}]}, "Event.kind"),
    ({"events": [{"kind": "kill"}, {"kind": "kill", "nodes": [8]}]}, "Event.nodes"),
    ({"events": [{"kind": "kill", "nodes": []}]}, "Event.nodes"),
    ({"events": [{"kind": "kill", "nodes": [-1]}]}, "Event.nodes"),
    ({"events": [{"kind": "kill", "nodes": 1.5}]}, "Event.nodes"),
    ({"events": [{"kind": "kill", "speed": 0.5}]}, "Event.speed"),
    ({"events": [{"kind": "slow", "speed": 0}]}, "Event.speed"),
    ({"events": [{"kind": "slow", "at": 9, "until": 9}]}, "Event.until"),
    ({"events": [{"kind": "scale"}]}, "Event.to"),
    ({"events": [{"kind": "cold"}]}, "Event.until"),
]


@pytest.mark.parametrize(("data", "field"), BAD)
def test_a_bad_field_is_named(data: object, field: str, tmp_path: Path) -> None:
    """Whatever is wrong: a ConfigurationError that names file and field."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigurationError) as caught:
        simulation.load(str(path))
    assert str(caught.value).startswith("mine.json: ")
    assert field in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "nodes = ", "[" * 100_000, "\xff"])
@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_broken_file_is_an_error_that_names_it(text: str, ending: str, tmp_path: Path) -> None:
    """What cannot be read at all, neither; an empty TOML file is a scenario of defaults."""
    path = tmp_path / f"mine.{ending}"
    path.write_bytes(text.encode("latin-1"))
    if (text, ending) == ("", "toml"):
        assert simulation.load(str(path)) == simulation.Scenario(name="mine")
        return
    with pytest.raises(ConfigurationError, match="mine"):
        simulation.load(str(path))


@pytest.mark.parametrize("name", ["no-such", "", "../scenarios/kill", "missing.toml"])
def test_an_unknown_scenario_is_an_error(name: str) -> None:
    """Only those that come with aiclient have names; anything else is a file."""
    with pytest.raises(ConfigurationError, match="scenario"):
        simulation.load(name)


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    """One scenario, written twice."""
    toml, as_json = tmp_path / "mine.toml", tmp_path / "mine.json"
    toml.write_text(
        "seconds = 60\n[fleet]\nnodes = 3\n[[fleet.groups]]\nnodes = 0.5\nspeed = 0.5\n"
        '[[events]]\nkind = "kill"\nat = 10\n'
    )
    fleet = {"nodes": 3, "groups": [{"nodes": 0.5, "speed": 0.5}]}
    events = [{"kind": "kill", "at": 10}]
    as_json.write_text(json.dumps({"seconds": 60, "fleet": fleet, "events": events}))
    assert simulation.load(str(toml)) == simulation.load(str(as_json))


def test_there_are_at_least_twelve() -> None:
    """Shipped, and each says what it is about."""
    assert len(simulation.names()) >= 12
    assert all(simulation.load(name).what for name in simulation.names())
