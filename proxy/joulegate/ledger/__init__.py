"""Durable records of settled requests and of the books."""
