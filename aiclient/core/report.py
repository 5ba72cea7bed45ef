"""What the caller of a good answer is told of how the call went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..facts import AttemptRecord

if TYPE_CHECKING:
    from .call import Call

__all__ = ["CallReport"]


class CallReport:
    """What `response.extensions["aiclient"]` holds: how the call went."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """The attempts in order; the last one is the answer's."""
        return self._call.records()

    @property
    def node(self) -> str:
        """The name of the node that answered."""
        return self._call.attempts[-1].node.label

    def __repr__(self) -> str:
        return f"<CallReport {'; '.join(str(attempt) for attempt in self.attempts)}>"
