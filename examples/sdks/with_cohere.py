"""cohere over balanced nodes: python examples/sdks/with_cohere.py [URL ...]"""

import asyncio

import cohere
from nodes import given_or_fake

import aiclient

MESSAGES = [{"role": "user", "content": "Say something."}]
ONCE = {"max_retries": 0}  # aiclient retries, on another node; cohere is told call by call


def balanced(nodes: list[str]) -> cohere.ClientV2:
    return cohere.ClientV2(
        base_url="http://llm", api_key="the-key", httpx_client=aiclient.Client(nodes)
    )


def balanced_async(nodes: list[str]) -> cohere.AsyncClientV2:
    return cohere.AsyncClientV2(
        base_url="http://llm", api_key="the-key", httpx_client=aiclient.AsyncClient(nodes)
    )


def main(nodes: list[str]) -> None:
    with balanced(nodes) as client:
        answer = client.chat(model="m", messages=MESSAGES, request_options=ONCE)
        print(answer.message.content[0].text)
        for event in client.chat_stream(model="m", messages=MESSAGES, request_options=ONCE):
            if event.type == "content-delta":
                print(event.delta.message.content.text, end="")
        print()


async def main_async(nodes: list[str]) -> None:
    async with balanced_async(nodes) as client:
        answer = await client.chat(model="m", messages=MESSAGES, request_options=ONCE)
        print(answer.message.content[0].text)
        stream = client.chat_stream(model="m", messages=MESSAGES, request_options=ONCE)
        async for event in stream:
            if event.type == "content-delta":
                print(event.delta.message.content.text, end="")
        print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
