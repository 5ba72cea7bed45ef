"""The nodes of these examples: the URLs on the command line, or three fake ones."""

import contextlib
import sys
from collections.abc import Iterator

from aiclient.testing import FakeNode


@contextlib.contextmanager
def given_or_fake() -> Iterator[list[str]]:
    if sys.argv[1:]:
        yield sys.argv[1:]
        return
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeNode()).url for _ in range(3)]
