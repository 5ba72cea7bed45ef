"""langchain-openai over balanced nodes: python examples/sdks/with_langchain_openai.py [URL ...]"""

import asyncio

from langchain_openai import ChatOpenAI
from nodes import given_or_fake

import aiclient.httpx2


def balanced(nodes: list[str]) -> ChatOpenAI:
    balancer = aiclient.Balancer(nodes)
    return ChatOpenAI(
        base_url="http://llm/v1",
        api_key="the-key",
        model="m",
        max_retries=0,  # aiclient retries, on another node
        http_client=aiclient.httpx2.Client(balancer),
        http_async_client=aiclient.httpx2.AsyncClient(balancer),
    )


def main(nodes: list[str]) -> None:
    chat = balanced(nodes)
    print(chat.invoke("Say something.").content)
    for chunk in chat.stream("Say something."):
        print(chunk.content, end="")
    print()


async def main_async(nodes: list[str]) -> None:
    chat = balanced(nodes)
    print((await chat.ainvoke("Say something.")).content)
    async for chunk in chat.astream("Say something."):
        print(chunk.content, end="")
    print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
