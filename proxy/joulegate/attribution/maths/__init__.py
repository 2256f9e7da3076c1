"""Numerical methods without any notion of a request."""
