"""groq over balanced nodes: python examples/sdks/with_groq.py [URL ...]"""

import asyncio

import groq
from nodes import given_or_fake

import aiclient

MESSAGES = [{"role": "user", "content": "Say something."}]


def balanced(nodes: list[str]) -> groq.Groq:
    return groq.Groq(
        base_url="http://llm",
        api_key="the-key",
        max_retries=0,  # aiclient retries, on another node
        http_client=aiclient.Client(nodes),
    )


def balanced_async(nodes: list[str]) -> groq.AsyncGroq:
    return groq.AsyncGroq(
        base_url="http://llm",
        api_key="the-key",
        max_retries=0,
        http_client=aiclient.AsyncClient(nodes),
    )


def main(nodes: list[str]) -> None:
    with balanced(nodes) as client:
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
        print(answer.choices[0].message.content)
        for event in client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
            print(event.choices[0].delta.content or "", end="")
        print()


async def main_async(nodes: list[str]) -> None:
    async with balanced_async(nodes) as client:
        create = client.chat.completions.create
        answer = await create(model="m", messages=MESSAGES)
        print(answer.choices[0].message.content)
        async for event in await create(model="m", messages=MESSAGES, stream=True):
            print(event.choices[0].delta.content or "", end="")
        print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
