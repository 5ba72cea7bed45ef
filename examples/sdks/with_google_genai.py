"""google-genai over balanced nodes: python examples/sdks/with_google_genai.py [URL ...]"""

import asyncio

from google import genai
from google.genai import types
from nodes import given_or_fake

import aiclient.httpx2


def balanced(nodes: list[str]) -> genai.Client:
    balancer = aiclient.Balancer(nodes)
    options = types.HttpOptions(
        base_url="http://llm",
        httpx_client=aiclient.httpx2.Client(balancer),
        httpx_async_client=aiclient.httpx2.AsyncClient(balancer),
    )
    return genai.Client(api_key="the-key", http_options=options)


def main(nodes: list[str]) -> None:
    with balanced(nodes) as client:
        print(client.models.generate_content(model="m", contents="Say something.").text)
        for part in client.models.generate_content_stream(model="m", contents="Say something."):
            print(part.text or "", end="")
        print()


async def main_async(nodes: list[str]) -> None:
    async with balanced(nodes).aio as client:
        answer = await client.models.generate_content(model="m", contents="Say something.")
        print(answer.text)
        stream = client.models.generate_content_stream
        async for part in await stream(model="m", contents="Say something."):
            print(part.text or "", end="")
        print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
