"""Requests under way and their settled records."""
