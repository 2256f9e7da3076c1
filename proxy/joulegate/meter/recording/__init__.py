"""Traces recorded for replay."""
