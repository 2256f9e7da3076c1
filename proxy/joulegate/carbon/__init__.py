"""Sources of carbon intensity, one module each."""
