"""Mixed traffic of three tasks through one OpenAI-compatible address."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import openai

PROMPTS = (
    "The electricity that a data centre uses in one year",
    "A short history of the steam engine begins",
    "The three most common causes of a power cut are",
    "To make bread at home you first",
    "The difference between power and energy is",
    "When the wind does not blow, the grid operator",
    "The capital of France is",
    "An old lighthouse keeper writes in his diary:",
)
SENTENCES = (
    "How much energy does one image cost?",
    "Wind turbines need a gearbox.",
    "The invoice is due at the end of the month.",
    "Das Rechenzentrum steht in Norwegen.",
    "La consommation baisse la nuit.",
    "A lighter model would have done.",
)
SCENES = ("green hills", "a dry river bed", "a volcano", "dunes at noon", "a fjord", "an alpine pass")
GENERATED_TOKENS = 10
"""As in the text generation task of Luccioni et al. 2023 (arXiv 2311.16863)."""


class Traffic:
    """Sends requests until its time is over and counts them."""

    def __init__(self, base_url: str, seed: int = 7) -> None:
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=120)
        self._random = random.Random(seed)
        self._done: Counter[str] = Counter()
        self.failures = 0

    async def run(self, seconds: float, tell: Callable[[float], None]) -> None:
        """Send mixed traffic for so many seconds, and tell the time passed about twice a second."""
        start = time.monotonic()
        end = start + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(self._repeat("text", self._text, 0.1, end))
            group.create_task(self._repeat("embeddings", self._embeddings, 0.1, end))
            group.create_task(self._repeat("images", self._image, 0.3, end))
            while (now := time.monotonic()) < end:
                tell(now - start)
                await asyncio.sleep(0.5)
            tell(seconds)
        await self._client.close()

    def summary(self) -> str:
        """Return the counts so far in words."""
        return ", ".join(f"{self._done[task]} {task}" for task in ("text", "embeddings", "images"))

    async def _repeat(
        self, task: str, send: Callable[[int], Awaitable[None]], mean_pause: float, end: float
    ) -> None:
        for number in itertools.count():
            if time.monotonic() >= end:
                return
            try:
                await send(number)
                self._done[task] += 1
            except openai.OpenAIError:
                self.failures += 1
            await asyncio.sleep(self._random.expovariate(1 / mean_pause))

    async def _text(self, number: int) -> None:
        prompt = f"{self._random.choice(PROMPTS)} ({number})"
        wish = {"model": "gemma-3-270m", "prompt": prompt, "max_tokens": GENERATED_TOKENS}
        if number % 2:
            await self._client.completions.create(**wish)
            return
        async for _ in await self._client.completions.create(**wish, stream=True):
            pass

    async def _embeddings(self, _: int) -> None:
        sentences = self._random.sample(SENTENCES, self._random.randint(1, 4))
        await self._client.embeddings.create(model="multilingual-e5-small", input=sentences)

    async def _image(self, number: int) -> None:
        prompt = f"{self._random.choice(SCENES)} {number}"
        await self._client.images.generate(model="terrain-diffusion", prompt=prompt, size="128x128")
