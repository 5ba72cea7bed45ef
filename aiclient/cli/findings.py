"""What was found out about one node."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Answer:
    """One request's answer. `status` is None when there was none; `error` then says why."""

    path: str
    status: int | None = None
    seconds: float | None = None
    error: str = ""

    @property
    def ok(self) -> bool:
        """Answered, and well."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(slots=True)
class Finding:
    """All that was found out about `node`."""

    node: str
    reachable: bool = False
    health: Answer | None = None
    inference: Answer | None = None
    models: list[str] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether calls can be sent to this node."""
        answers = (self.health, self.inference)
        return self.reachable and all(answer is not None and answer.ok for answer in answers)

    @property
    def load_signal(self) -> str:
        """How it tells its load."""
        return ", ".join(self.signals) or "none"

    def hint(self, text: str) -> None:
        """Tell the user, once."""
        if text not in self.hints:
            self.hints.append(text)
