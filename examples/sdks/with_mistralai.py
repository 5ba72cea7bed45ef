"""mistralai over balanced nodes: python examples/sdks/with_mistralai.py [URL ...]"""

import asyncio

from mistralai.client import Mistral
from nodes import given_or_fake

import aiclient.httpx2

MESSAGES = [{"role": "user", "content": "Say something."}]


def balanced(nodes: list[str]) -> Mistral:
    balancer = aiclient.Balancer(nodes)
    return Mistral(
        server_url="http://llm",
        api_key="the-key",
        client=aiclient.httpx2.Client(balancer),
        async_client=aiclient.httpx2.AsyncClient(balancer),
    )


def main(nodes: list[str]) -> None:
    with balanced(nodes) as client:
        answer = client.chat.complete(model="m", messages=MESSAGES)
        print(answer.choices[0].message.content)
        with client.chat.stream(model="m", messages=MESSAGES) as events:
            for event in events:
                print(event.data.choices[0].delta.content or "", end="")
        print()


async def main_async(nodes: list[str]) -> None:
    async with balanced(nodes) as client:
        answer = await client.chat.complete_async(model="m", messages=MESSAGES)
        print(answer.choices[0].message.content)
        async with await client.chat.stream_async(model="m", messages=MESSAGES) as events:
            async for event in events:
                print(event.data.choices[0].delta.content or "", end="")
        print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
