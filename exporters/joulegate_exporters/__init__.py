"""Exporters of settled figures, one module each, loaded by name."""
