"""Session persistence: a user stays on one node, whose cache knows the conversation.

Needs no cookie and no shared table: every process that hashes the same key over the same nodes
finds the same node. When a node goes, only its own users move.

python examples/session_affinity.py [URL...]
"""

import sys
from contextlib import ExitStack

import aiclient
from aiclient.testing import FakeNode

USERS = [f"user-{number}" for number in range(1, 9)]


def ask(client: aiclient.Client, model: str, user: str) -> str:
    """The node that answered."""
    body = {"model": model, "messages": [{"role": "user", "content": f"I am {user}."}]}
    # The options reach the balancer through any SDK that makes the call within the block.
    with aiclient.options(key=user):
        response = client.post("/v1/chat/completions", json=body).raise_for_status()
    node: str = response.extensions["aiclient"].node
    return node


with ExitStack() as stack:
    nodes = sys.argv[1:] or [
        stack.enter_context(FakeNode(prefill=0, token_time=0)).url for _ in range(4)
    ]
    with aiclient.Client(nodes, picker=aiclient.ConsistentHash()) as client:
        model = client.get("/v1/models").json()["data"][0]["id"]
        homes = {user: ask(client, model, user) for user in USERS}
        for user, home in homes.items():
            again = {ask(client, model, user) for _ in range(3)}
            print(f"{user}: {home}, three more calls: {'the same' if again == {home} else again}")

        gone = homes[USERS[0]]
        client.balancer.drain(gone)
        print(f"drained {gone}")
        moved = [user for user in USERS if ask(client, model, user) != homes[user]]
        print(f"moved: {', '.join(moved)}")
        print(f"only its own users moved: {all(homes[user] == gone for user in moved)}")
