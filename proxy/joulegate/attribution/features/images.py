"""Where the work of each image request lies in time."""

import math
from collections.abc import Sequence

from msgspec import Struct

from joulegate.attribution.features.priors import Priors
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.sanitize import possible
from joulegate.attribution.maths.arrays import Seconds

IMAGE_DELAY_S = 0.005
"""Seconds from the last denoising step to the end of the answer."""
BATCH_APART_S = 0.060
"""Images whose answers end closer than this were drawn in one batch."""
MEGAPIXEL = 2**20
SHORTEST_IMAGE_S = 0.002
"""No image is drawn faster."""


class PlacedImage(Struct):
    """The work of one image request."""

    span: RequestInput
    start: Seconds
    end: Seconds
    megapixels: float
    steps: float
    images: float
    guessed: bool = False
    hidden_cache: bool = False
    unsure: bool = False
    """It still runs: when its work is done is not known."""

    @property
    def finish(self) -> float:
        """Return the end of the presence on the device in s."""
        return self.end


def image_work(span: RequestInput) -> tuple[float, float, float]:
    """Return megapixels of one image, steps and images; usual values where the request does not say."""
    asked, facts = span.opened.asked, span.closed.facts if span.closed else None
    images = (possible(facts.images) if facts else None) or asked.images or 1
    pixels = (facts.pixels.value if facts and facts.pixels else 0) or 0
    each = pixels / images if pixels else (asked.width or 1024) * (asked.height or 1024)
    told = possible(facts.steps) if facts else None
    if told == 0:  # the server still had all results: nothing was read, drawn or decoded
        return each / MEGAPIXEL, 0.0, 0.0
    return each / MEGAPIXEL, float(told or asked.steps or 20), float(images)


class ImagePlacer:
    """Places the image requests of one upstream: jobs by their own signs, others as batches in a row."""

    def __init__(self, concurrency: int, priors: Priors, now: Seconds) -> None:
        self._concurrency = max(concurrency, 1)
        self._priors = priors
        self._now = now

    def place(self, spans: Sequence[RequestInput]) -> list[PlacedImage]:
        """Place all of them."""
        jobs = [span for span in spans if span.is_job]
        plain = [span for span in spans if not span.is_job]
        placed = [*self._place_jobs(jobs), *self._place_batches(plain)]
        for one in placed:
            if one.span.finished:
                self._priors.learn_image(
                    one.span, one.end - one.start, one.megapixels * one.steps * one.images
                )
        return placed

    def _end(self, span: RequestInput) -> float:
        return self._now if span.end is None else span.end - IMAGE_DELAY_S

    def _place_jobs(self, jobs: Sequence[RequestInput]) -> list[PlacedImage]:
        known = sorted(
            (job for job in jobs if job.running is not None), key=lambda job: (job.running, job.place)
        )
        placed = []
        for place, span in enumerate(known):
            end = self._end(span)
            follower = known[place + 1].running if place + 1 < len(known) else None
            if follower is not None:
                end = min(end, follower)
            placed.append(self._image(span, span.start if span.running is None else span.running, end))
        unknown = [job for job in jobs if job.running is None]
        for span in sorted(unknown, key=lambda job: (job.start, job.place)):
            placed.append(self._image(span, self._began(span, placed), self._end(span)))
        return placed

    def _began(self, span: RequestInput, others: Sequence[PlacedImage]) -> float:
        """Return when a job began of which nothing says that it ran.

        A server that does one job after the other is never idle while one waits: it began when the one before
        ended, and while another one runs it waits.
        """
        end = self._end(span)
        before = [one.end for one in others if one.end <= end or one.span.end is None]
        if self._concurrency > 1 or not before:
            return span.start
        return min(max(span.start, *before), end) if span.end is not None else max(span.start, *before)

    def _place_batches(self, spans: Sequence[RequestInput]) -> list[PlacedImage]:
        placed: list[PlacedImage] = []
        free = -math.inf
        for batch in self._batches(sorted(spans, key=lambda span: (self._end(span), span.place))):
            end = min(self._end(span) for span in batch)
            start = min(max(free, *(span.start for span in batch)), end - SHORTEST_IMAGE_S)
            done = [self._image(span, max(start, span.start), end) for span in batch]
            placed.extend(done)
            free = max(one.end for one in done)
        return placed

    def _batches(self, spans: Sequence[RequestInput]) -> list[list[RequestInput]]:
        batches: list[list[RequestInput]] = []
        for span in spans:
            head = batches[-1][0] if batches else None
            near = head is not None and self._end(span) - self._end(head) <= BATCH_APART_S
            if near and len(batches[-1]) < self._concurrency:
                batches[-1].append(span)
            else:
                batches.append([span])
        return batches

    def _image(self, span: RequestInput, start: Seconds, end: Seconds) -> PlacedImage:
        """Return an image drawn from start to end; one that is not ready yet ends when it usually would."""
        megapixels, steps, images = image_work(span)
        if span.end is None:
            end = max(end, start + (self._priors.image_pace or 0.0) * megapixels * steps * images)
        end = max(end, start + SHORTEST_IMAGE_S)
        return PlacedImage(span, start, end, megapixels, steps, images, unsure=span.end is None)
