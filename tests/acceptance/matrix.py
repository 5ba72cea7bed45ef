"""What is run: each way of calling, against each way for a node to go wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

WAYS = ("sync", "asyncio", "trio")
# These bite by themselves, after a number of requests; the others are inflicted on a busy node.
BY_ITSELF = ("hang after n", "hang_mid_stream after n")
WOUNDS = (
    "refuse",
    "reset",
    "hang",
    *BY_ITSELF,
    "SIGSTOP",
    "401",
    "404",
    "500",
    "503",
    "garbage",
    "cut_mid_body",
)
# Beyond what was asked for: the first call may already meet the bad node.
FROM_THE_START = ("refuse", "reset", "hang", "401", "404", "500", "503", "garbage", "cut_mid_body")


@dataclass(frozen=True)
class Cell:
    """One run: a closed loop of `in_flight` workers, and something happens to the victims."""

    way: str
    wound: str
    nodes: int = 8
    in_flight: int = 20
    victims: int = 1
    calls: int = 5000
    from_start: bool = False

    def __str__(self) -> str:
        wound = self.wound.replace(" ", "_") + "_from_the_start" * self.from_start
        return f"{self.way}-{wound}-{self.victims}of{self.nodes}-{self.in_flight}_in_flight"


def _whole(way: str) -> list[Cell]:
    most = 64 if way == "sync" else 1000
    return [
        *(Cell(way, "SIGKILL", nodes, count) for count in (20, most) for nodes in (2, 3, 8)),
        *(Cell(way, wound) for wound in WOUNDS),
        Cell(way, "refuse", nodes=3, victims=2),
    ]


def _sample() -> list[Cell]:
    # The hardest kill in full for each way; each other cell once, in one of the ways, and short.
    kills = [Cell("sync", "SIGKILL", 2, 64)]
    kills += [Cell(way, "SIGKILL", 2, 1000) for way in ("asyncio", "trio")]
    others = [_whole(way)[place :: len(WAYS)] for place, way in enumerate(WAYS)]
    return kills + [replace(cell, calls=1000) for cells in others for cell in cells[2:]]


FULL = [cell for way in WAYS for cell in _whole(way)]
FULL += [Cell("asyncio", wound, calls=1000, from_start=True) for wound in FROM_THE_START]
SAMPLE = _sample()


def chosen() -> list[Cell]:
    """The full matrix where AICLIENT_MATRIX=full is in the environment, elsewhere a sample."""
    return FULL if os.environ.get("AICLIENT_MATRIX") == "full" else SAMPLE
