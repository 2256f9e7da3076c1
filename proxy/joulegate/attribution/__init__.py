"""Sharing measured energy among concurrent requests, exactly. No I/O, no clock."""
