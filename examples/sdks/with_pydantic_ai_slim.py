"""pydantic-ai over balanced nodes: python examples/sdks/with_pydantic_ai_slim.py [URL ...]"""

import asyncio

import openai
from nodes import given_or_fake
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import aiclient.httpx2


def balanced(nodes: list[str]) -> Agent:
    # OpenAIProvider(http_client=...) works too, but leaves the SDK's own retries on.
    client = openai.AsyncOpenAI(
        base_url="http://llm/v1",
        api_key="the-key",
        max_retries=0,  # aiclient retries, on another node
        http_client=aiclient.httpx2.AsyncClient(nodes),
    )
    return Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))


def main(nodes: list[str]) -> None:
    print(balanced(nodes).run_sync("Say something.").output)


async def main_async(nodes: list[str]) -> None:
    agent = balanced(nodes)
    print((await agent.run("Say something.")).output)
    async with agent.run_stream("Say something.") as result:
        async for text in result.stream_text(delta=True):
            print(text, end="")
    print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
