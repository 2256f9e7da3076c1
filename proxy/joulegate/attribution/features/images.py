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


class PlacedImage(Struct, frozen=True):
    """The work of one image request."""

    request: RequestInput
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


def image_work(request: RequestInput) -> tuple[float, float, float]:
    """Return the megapixels of one image, steps and images; usual values where they are not known."""
    asked, facts = request.opened.asked, request.closed.facts if request.closed else None
    images = (possible(facts.images) if facts else None) or asked.images or 1
    pixels = (facts.pixels.value if facts and facts.pixels else 0) or 0
    each = pixels / images if pixels else (asked.width or 1024) * (asked.height or 1024)
    reported = possible(facts.steps) if facts else None
    if reported == 0:  # the server still had all results: nothing was read, drawn or decoded
        return each / MEGAPIXEL, 0.0, 0.0
    return each / MEGAPIXEL, float(reported or asked.steps or 20), float(images)


class ImagePlacer:
    """Places one upstream's image requests: jobs by their reported states, others as batches in a row."""

    def __init__(self, concurrency: int, priors: Priors, now: Seconds) -> None:
        self._concurrency = max(concurrency, 1)
        self._priors = priors
        self._now = now

    def place(self, requests: Sequence[RequestInput]) -> list[PlacedImage]:
        """Place all of them."""
        jobs = [request for request in requests if request.is_job]
        plain = [request for request in requests if not request.is_job]
        placed = [*self._place_jobs(jobs), *self._place_batches(plain)]
        for one in placed:
            if one.request.finished:
                self._priors.learn_image(
                    one.request, one.end - one.start, one.megapixels * one.steps * one.images
                )
        return placed

    def _end(self, request: RequestInput) -> float:
        return self._now if request.end is None else request.end - IMAGE_DELAY_S

    def _place_jobs(self, jobs: Sequence[RequestInput]) -> list[PlacedImage]:
        known = sorted(
            (job for job in jobs if job.running is not None), key=lambda job: (job.running, job.place)
        )
        placed = []
        for place, request in enumerate(known):
            end = self._end(request)
            follower = known[place + 1].running if place + 1 < len(known) else None
            if follower is not None:
                end = min(end, follower)
            placed.append(
                self._image(request, request.start if request.running is None else request.running, end)
            )
        unknown = [job for job in jobs if job.running is None]
        for request in sorted(unknown, key=lambda job: (job.start, job.place)):
            placed.append(self._image(request, self._began(request, placed), self._end(request)))
        return placed

    def _began(self, request: RequestInput, others: Sequence[PlacedImage]) -> float:
        """Return when a job began whose start was not seen.

        A server that does one job after the other is never idle while one waits: it began when the one before
        ended, and while another one runs it waits.
        """
        end = self._end(request)
        before = [one.end for one in others if one.end <= end or one.request.end is None]
        if self._concurrency > 1 or not before:
            return request.start
        return (
            min(max(request.start, *before), end) if request.end is not None else max(request.start, *before)
        )

    def _place_batches(self, requests: Sequence[RequestInput]) -> list[PlacedImage]:
        placed: list[PlacedImage] = []
        free = -math.inf
        for batch in self._batches(sorted(requests, key=lambda request: (self._end(request), request.place))):
            end = min(self._end(request) for request in batch)
            start = min(max(free, *(request.start for request in batch)), end - SHORTEST_IMAGE_S)
            done = [self._image(request, max(start, request.start), end) for request in batch]
            placed.extend(done)
            free = max(one.end for one in done)
        return placed

    def _batches(self, requests: Sequence[RequestInput]) -> list[list[RequestInput]]:
        batches: list[list[RequestInput]] = []
        for request in requests:
            head = batches[-1][0] if batches else None
            near = head is not None and self._end(request) - self._end(head) <= BATCH_APART_S
            if near and len(batches[-1]) < self._concurrency:
                batches[-1].append(request)
            else:
                batches.append([request])
        return batches

    def _image(self, request: RequestInput, start: Seconds, end: Seconds) -> PlacedImage:
        """Return an image made from start to end; one that is not ready yet ends when it usually would."""
        megapixels, steps, images = image_work(request)
        if request.end is None:
            end = max(end, start + (self._priors.image_pace or 0.0) * megapixels * steps * images)
        end = max(end, start + SHORTEST_IMAGE_S)
        return PlacedImage(request, start, end, megapixels, steps, images, unsure=request.end is None)
