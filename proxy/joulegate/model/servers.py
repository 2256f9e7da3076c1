"""The forms of error that a configuration may name."""

DIALECTS = ("openai", "anthropic", "ollama", "triton", "torchserve", "a1111", "plain")
"""The forms of error that clients read; ``triton`` is ``{"error": "…"}``, ``plain`` a line of text."""
