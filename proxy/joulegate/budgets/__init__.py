"""Limits of energy and emissions over calendar periods."""
