"""stable-diffusion.cpp's jobs."""

import pytest

from joulegate.protocols.sdcpp import Plugin


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/sdcpp/v1/img_gen", "img_gen"),
        ("POST", "/sdcpp/v1/vid_gen", "vid_gen"),
        ("GET", "/sdcpp/v1/jobs/job_1", "job"),
        ("POST", "/sdcpp/v1/jobs/job_1/cancel", "job"),
        ("GET", "/sdcpp/v1/jobs/job_1/cancel", None),
        ("POST", "/sdcpp/v1/jobs/job_1", None),
        ("GET", "/sdcpp/v1/img_gen", None),
    ],
)
def test_its_routes_are_known(method: str, path: str, route: str | None) -> None:
    """By method and path."""
    found = Plugin().matches(method, path)
    assert (found and found.name) == route


def test_a_job_has_an_address_of_its_own() -> None:
    """Below the same prefix as the route that took it."""
    assert Plugin().inquiries("/sdcpp/v1/vid_gen", "job_1") == ("/sdcpp/v1/jobs/job_1",)
