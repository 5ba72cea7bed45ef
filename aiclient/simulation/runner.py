"""Runs by name, several of them over processes."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import import_module
from typing import Any, NamedTuple

from ..core import pickers
from ..core.hashing import ConsistentHash
from ..core.pickers import Picker
from ..errors import ConfigurationError
from .clients import Run
from .ideal import IDEAL, Ideal
from .result import Result, mean_of
from .scenario import Scenario

__all__ = ["PICKERS", "Task", "means", "picker_named", "run", "run_all"]

PICKERS: dict[str, Callable[[], Picker]] = {
    "LeastLoad": pickers.LeastLoad,
    "LeastRequest": pickers.LeastRequest,
    "PowerOfTwoChoices": pickers.PowerOfTwoChoices,
    "RoundRobin": pickers.RoundRobin,
    "Random": pickers.Random,
    "ConsistentHash": ConsistentHash,
}


class Task(NamedTuple):
    """One run: a picker's name, or "ideal"."""

    scenario: Scenario
    picker: str
    seed: int


def picker_named(name: str) -> Callable[[], Picker]:
    """A class of pickers: one of aiclient's by its name, or your own as "module:Class".

    Raises:
        ConfigurationError: there is none.
    """
    if name in PICKERS:
        return PICKERS[name]
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        allowed = ", ".join(PICKERS)
        raise ConfigurationError(f"picker: {name!r} is not allowed; module:Class, or {allowed}")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        raise ConfigurationError(f"picker: {name!r} is not allowed; {exc}") from exc
    if not callable(found):
        raise ConfigurationError(f"picker: {name!r} is not allowed; a class of pickers")
    return found  # type: ignore[no-any-return]


def run(scenario: Scenario, picker: str = "LeastLoad", *, seed: int = 0, **options: Any) -> Result:
    """Simulate it once.

    `picker`: see `picker_named`; "ideal": one queue before all healthy slots. `options` are those
    of the balancer: `retry=None`, `breaker=...`. The log of aiclient is silent meanwhile: nothing
    that happens is real.

    Raises:
        ConfigurationError: no such picker; an option is wrong.
        ModuleNotFoundError: simpy is missing.
    """
    env = _environment()
    if picker == IDEAL:
        return Ideal(env, scenario, seed=seed).result()
    with _silence():
        made = Run(env, scenario, picker_named(picker), seed=seed, **options)
        return made.result(picker)


def run_all(
    tasks: Sequence[Task], *, processes: int = 0, progress: Callable[[int], object] | None = None
) -> list[Result]:
    """Simulate all, one per CPU at a time; in the order of the tasks.

    `processes`: 0 is one per CPU. They are started anew: a script that calls this needs
    `if __name__ == "__main__":`. `progress` gets the number of calls of each run that is done.

    Raises:
        ConfigurationError: no such picker.
        ModuleNotFoundError: simpy is missing.
    """
    _environment()
    for picker in {task.picker for task in tasks} - {IDEAL}:
        picker_named(picker)
    processes = min(processes or os.cpu_count() or 1, len(tasks))
    done: list[Result | None] = [None] * len(tasks)
    for place, result in _spread(tasks, processes):
        done[place] = result
        if progress is not None:
            progress(result.calls)
    return [result for result in done if result is not None]


def means(tasks: Sequence[Task], found: Sequence[Result]) -> list[Result]:
    """One result for each scenario and picker: the mean over its seeds."""
    groups: dict[tuple[int, str], list[Result]] = {}
    for task, result in zip(tasks, found, strict=True):
        groups.setdefault((id(task.scenario), task.picker), []).append(result)
    return [mean_of(group) for group in groups.values()]


def _spread(tasks: Sequence[Task], processes: int) -> Iterator[tuple[int, Result]]:
    if processes <= 1:
        for place, task in enumerate(tasks):
            yield place, _run_task(task)
        return
    # Not forked: the caller may have threads.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawned, initializer=_end_at_once) as pool:
        places = {pool.submit(_run_task, task): place for place, task in enumerate(tasks)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_at_once() -> None:
    """At Ctrl-C, which all processes of a terminal get, without a traceback each."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run_task(task: Task) -> Result:
    return run(task.scenario, task.picker, seed=task.seed)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    logger = logging.getLogger("aiclient")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _environment() -> Any:
    try:
        import simpy
    except ModuleNotFoundError as exc:
        if exc.name != "simpy":
            raise
        told = "simpy is missing: pip install 'aiclient[simulation]'"
        raise ModuleNotFoundError(told, name="simpy") from exc
    return simpy.Environment()
