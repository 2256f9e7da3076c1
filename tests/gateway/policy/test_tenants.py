"""Who pays."""

import pytest

from joulegate.gateway.policy.tenants import Tenants

TENANTS = Tenants.of({"lab": "sk-lab", "shop": "sk-shop"})


@pytest.mark.parametrize(
    "field",
    [
        (b"Authorization", b"Bearer sk-shop"),
        (b"authorization", b"bearer  sk-shop"),
        (b"X-API-Key", b"sk-shop"),
        (b"api-key", b" sk-shop "),
    ],
)
def test_a_tenant_is_known_by_its_key(field: tuple[bytes, bytes]) -> None:
    """Each usual way to send a key names the tenant."""
    assert TENANTS.identify([(b"A", b"1"), field]) == "shop"


@pytest.mark.parametrize(
    "field",
    [
        (b"Authorization", b"Bearer sk-lab2"),
        (b"X-Tenant", b"lab"),
        (b"Authorization", b"Basic sk-lab"),
        (b"Cookie", b"sk-lab"),
    ],
)
def test_nothing_but_the_key_makes_a_tenant(field: tuple[bytes, bytes]) -> None:
    """A name that a client claims is not believed."""
    assert TENANTS.identify([field]) is None


def test_keys_are_not_kept() -> None:
    """No figure, trace or dump of the settings can show a key."""
    assert "sk-lab" not in repr(TENANTS)
    assert Tenants().identify([(b"Authorization", b"Bearer x")]) is None
