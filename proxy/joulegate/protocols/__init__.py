"""Inference protocols, one module each: bytes seen in passing become facts. No I/O, no clock."""
