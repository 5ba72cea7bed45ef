"""huggingface_hub over balanced nodes: python examples/sdks/with_huggingface_hub.py [URL ...]"""

import asyncio

import httpx2
import huggingface_hub
from nodes import given_or_fake

import aiclient.httpx2

MESSAGES = [{"role": "user", "content": "Say something."}]


def balance(nodes: list[str]) -> None:
    balancer = aiclient.Balancer(nodes)

    # Clients for the whole process: only http://llm is balanced, the Hub stays within reach.
    def client() -> httpx2.Client:
        transport = aiclient.httpx2.BalancedTransport(balancer)
        return httpx2.Client(mounts={"all://llm": transport}, follow_redirects=True)

    def async_client() -> httpx2.AsyncClient:
        transport = aiclient.httpx2.AsyncBalancedTransport(balancer)
        return httpx2.AsyncClient(mounts={"all://llm": transport}, follow_redirects=True)

    huggingface_hub.set_client_factory(client)
    huggingface_hub.set_async_client_factory(async_client)


def main() -> None:
    client = huggingface_hub.InferenceClient(base_url="http://llm/v1", api_key="the-key")
    print(client.chat_completion(MESSAGES).choices[0].message.content)
    for event in client.chat_completion(MESSAGES, stream=True):
        print(event.choices[0].delta.content or "", end="")
    print()


async def main_async() -> None:
    options = {"base_url": "http://llm/v1", "api_key": "the-key"}
    async with huggingface_hub.AsyncInferenceClient(**options) as client:
        print((await client.chat_completion(MESSAGES)).choices[0].message.content)
        async for event in await client.chat_completion(MESSAGES, stream=True):
            print(event.choices[0].delta.content or "", end="")
        print()


if __name__ == "__main__":
    with given_or_fake() as nodes:
        balance(nodes)
        main()
        asyncio.run(main_async())
