"""litellm over balanced nodes: python examples/sdks/with_litellm.py [URL ...]"""

import asyncio

import httpx
import litellm
from nodes import given_or_fake

import aiclient

CALL = {
    "model": "openai/m",  # only litellm's openai path takes the client
    "api_base": "http://llm/v1",
    "api_key": "the-key",
    "max_retries": 0,  # aiclient retries, on another node
    "messages": [{"role": "user", "content": "Say something."}],
}


def balance(nodes: list[str]) -> None:
    balancer = aiclient.Balancer(nodes)
    transport = aiclient.BalancedTransport(balancer)
    async_transport = aiclient.AsyncBalancedTransport(balancer)
    # For the whole process: only http://llm is balanced, other calls go where they always went.
    litellm.client_session = httpx.Client(mounts={"all://llm": transport})
    litellm.aclient_session = httpx.AsyncClient(mounts={"all://llm": async_transport})


def main() -> None:
    print(litellm.completion(**CALL).choices[0].message.content)
    for event in litellm.completion(**CALL, stream=True):
        print(event.choices[0].delta.content or "", end="")
    print()


async def main_async() -> None:
    print((await litellm.acompletion(**CALL)).choices[0].message.content)
    async for event in await litellm.acompletion(**CALL, stream=True):
        print(event.choices[0].delta.content or "", end="")
    print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        balance(nodes)
        main()
        asyncio.run(main_async())
