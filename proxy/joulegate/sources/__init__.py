"""Energy sources, one module each."""
