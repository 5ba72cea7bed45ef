"""Scenarios as TOML or JSON files: those that come with aiclient, and the user's own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .scenario import Event, Fleet, Group, Scenario, Workload

__all__ = ["load", "names", "scenario_from"]

_SHIPPED = Path(__file__).parent / "scenarios"


def names() -> list[str]:
    """The scenarios that come with aiclient."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def load(name: str) -> Scenario:
    """One that comes with aiclient, by its name, or a file that ends in .toml or .json.

    Raises:
        ConfigurationError: there is none, or it says what is not allowed; names the field.
    """
    path = Path(name)
    if path.suffix not in (".toml", ".json"):
        path = _SHIPPED / f"{name}.toml"
        if name not in names():
            raise ConfigurationError(
                f"scenario: {name!r} is not allowed; a .toml or .json file, or one of "
                + ", ".join(names())
            )
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigurationError(f"scenario: {name}: {exc}") from exc
    try:
        return scenario_from(data, path.stem)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def scenario_from(data: object, name: str = "") -> Scenario:
    """A scenario from what a file holds.

    Raises:
        ConfigurationError: names the field, the value and what is allowed.
    """
    values = dict(_table(data, "Scenario"))
    values.setdefault("name", name)
    if "fleet" in values:
        fleet = dict(_table(values["fleet"], "fleet"))
        if "groups" in fleet:
            fleet["groups"] = _each(fleet["groups"], "fleet.groups", Group)
        values["fleet"] = _built(Fleet, fleet, "fleet")
    if "workload" in values:
        values["workload"] = _built(Workload, values["workload"], "workload")
    if "events" in values:
        values["events"] = _each(values["events"], "events", Event)
    return _built(Scenario, values, "scenario")  # type: ignore[no-any-return]


def _each(value: object, where: str, kind: type) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigurationError(f"{where}: {value!r} is not allowed; a list of tables")
    return tuple(_built(kind, item, f"{where}[{place}]") for place, item in enumerate(value))


def _built(kind: type, value: object, where: str) -> Any:
    try:
        return kind(**_table(value, where))
    except (TypeError, ValueError) as exc:
        # attrs' own: a field that is missing, or of a wrong type.
        if isinstance(exc, ConfigurationError) and str(exc).startswith(where):
            raise
        raise ConfigurationError(f"{where}: {exc.args[0] if exc.args else exc}") from exc


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError(f"{where}: {value!r} is not allowed; a table of fields")
    return value
