"""llama-index over balanced nodes: python examples/sdks/with_llama_index_llms_openai.py [URLs]"""

import asyncio

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI
from nodes import given_or_fake

import aiclient

MESSAGES = [ChatMessage(role="user", content="Say something.")]


def balanced(nodes: list[str]) -> OpenAI:
    balancer = aiclient.Balancer(nodes)
    return OpenAI(
        api_base="http://llm/v1",
        api_key="the-key",
        model="gpt-4o-mini",  # one it knows; OpenAILike of llama-index takes any name
        max_retries=0,  # aiclient retries, on another node
        http_client=aiclient.Client(balancer),  # this SDK wants openai < 3, and so httpx
        async_http_client=aiclient.AsyncClient(balancer),
    )


def main(nodes: list[str]) -> None:
    llm = balanced(nodes)
    print(llm.chat(MESSAGES).message.content)
    for part in llm.stream_chat(MESSAGES):
        print(part.delta, end="")
    print()


async def main_async(nodes: list[str]) -> None:
    llm = balanced(nodes)
    print((await llm.achat(MESSAGES)).message.content)
    async for part in await llm.astream_chat(MESSAGES):
        print(part.delta, end="")
    print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
