"""The bare asynchronous client: aiohttp, a pool of kept connections, a bound on what is in flight.

    python bare.py URL CONCURRENCY INPUTS.json [--chain]

With `--chain` an item's three calls follow one another, and items are independent. Prints the
seconds from the first request to the last answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter

import aiohttp
from work import CHAIN, body, given

HEADERS = {"Content-Type": "application/json"}


async def ask(session: aiohttp.ClientSession, url: str, prompt: str) -> str:
    async with session.post(url, data=body(prompt), headers=HEADERS) as response:
        response.raise_for_status()
        answer = json.loads(await response.read())
    text: str = answer["choices"][0]["message"]["content"]
    return text


async def main(url: str, concurrency: int, prompts: list[str], steps: tuple[str, ...]) -> None:
    gate = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def item(text: str) -> str:
            for template in steps:
                async with gate:
                    text = await ask(session, f"{url}/chat/completions", template.format(text=text))
            return text

        began_s = perf_counter()
        answers = await asyncio.gather(*map(item, prompts))
        print(json.dumps({"answers": len(answers), "within_s": perf_counter() - began_s}))


if __name__ == "__main__":
    chosen = CHAIN if "--chain" in sys.argv else CHAIN[:1]
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), given(Path(sys.argv[3])), chosen))
