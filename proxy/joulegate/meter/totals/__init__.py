"""Sums of settled records and the words they are kept under."""
