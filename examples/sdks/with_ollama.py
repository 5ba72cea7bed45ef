"""ollama over balanced nodes: python examples/sdks/with_ollama.py [URL ...]"""

import asyncio

import ollama
from nodes import given_or_fake

import aiclient

MESSAGES = [{"role": "user", "content": "Say something."}]


def balanced(nodes: list[str]) -> ollama.Client:
    # It makes its own client, from the options of httpx.Client: hand it the transport.
    return ollama.Client("http://llm", transport=aiclient.BalancedTransport(nodes))


def balanced_async(nodes: list[str]) -> ollama.AsyncClient:
    return ollama.AsyncClient("http://llm", transport=aiclient.AsyncBalancedTransport(nodes))


def main(nodes: list[str]) -> None:
    with balanced(nodes) as client:
        print(client.chat("m", MESSAGES).message.content)
        for part in client.chat("m", MESSAGES, stream=True):
            print(part.message.content, end="")
        print()


async def main_async(nodes: list[str]) -> None:
    async with balanced_async(nodes) as client:
        print((await client.chat("m", MESSAGES)).message.content)
        async for part in await client.chat("m", MESSAGES, stream=True):
            print(part.message.content, end="")
        print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        main(nodes)
        asyncio.run(main_async(nodes))
