"""How far counters show the past."""

from joulegate.attribution.features.counter_lag import LAGS_S, SLOW_LAGS_S, USUAL_SLOW_LAG_S, CounterLag


def test_what_was_found_is_used_and_nothing_found_changes_nothing() -> None:
    """A rule that finds no lag leaves the one in use."""
    lag = CounterLag().updated(0.1, slow=False)

    assert lag.used == 0.1
    assert lag.updated(None, slow=False) == lag
    assert lag.candidates == LAGS_S


def test_means_of_a_second_cannot_lag_by_milliseconds() -> None:
    """Power readings lag by half a second, whatever was found before they were known as such."""
    lag = CounterLag(0.1).updated(None, slow=True)

    assert lag.used == USUAL_SLOW_LAG_S
    assert lag.reach > CounterLag().reach
    assert lag.updated(SLOW_LAGS_S[0], slow=True).used == SLOW_LAGS_S[0]
