"""anthropic over balanced nodes: python examples/sdks/with_anthropic.py [URL ...]"""

import asyncio

import anthropic
from nodes import given_or_fake

import aiclient.httpx2

MESSAGES = [{"role": "user", "content": "Say something."}]


def balanced(nodes: list[str]) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url="http://llm",
        api_key="the-key",
        max_retries=0,  # aiclient retries, on another node
        http_client=aiclient.httpx2.Client(nodes),
    )


def balanced_async(nodes: list[str]) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url="http://llm",
        api_key="the-key",
        max_retries=0,
        http_client=aiclient.httpx2.AsyncClient(nodes),
    )


def main(nodes: list[str]) -> None:
    with balanced(nodes) as client:
        answer = client.messages.create(model="m", max_tokens=16, messages=MESSAGES)
        print(answer.content[0].text)
        with client.messages.stream(model="m", max_tokens=16, messages=MESSAGES) as stream:
            for text in stream.text_stream:
                print(text, end="")
        print()


async def main_async(nodes: list[str]) -> None:
    async with balanced_async(nodes) as client:
        answer = await client.messages.create(model="m", max_tokens=16, messages=MESSAGES)
        print(answer.content[0].text)
        async with client.messages.stream(model="m", max_tokens=16, messages=MESSAGES) as stream:
            async for text in stream.text_stream:
                print(text, end="")
        print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
