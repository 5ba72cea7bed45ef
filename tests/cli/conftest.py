from collections.abc import Iterator

import pytest

from aiclient.testing import FakeNode

from .helpers import SECRET, Check, Outcome, call


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs `aiclient check` here; whatever it prints, no secret is in it."""
    monkeypatch.delenv("AICLIENT_API_KEY", raising=False)

    def run_it(*arguments: str) -> Outcome:
        outcome = call(monkeypatch, capsys, "check", *arguments)
        assert SECRET not in outcome.out + outcome.err
        return outcome

    return run_it


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A node that takes no time to answer."""
    with FakeNode(prefill=0, token_time=0) as node:
        yield node
