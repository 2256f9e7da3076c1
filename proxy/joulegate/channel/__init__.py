"""Event frames between gates and the meter of a host. It knows nothing of what the events mean."""
