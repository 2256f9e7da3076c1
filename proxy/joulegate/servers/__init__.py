"""Inference servers, one module each: how they are recognised, read and stopped. No I/O, no clock."""
