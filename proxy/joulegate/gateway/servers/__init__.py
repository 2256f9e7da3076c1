"""What stands behind an upstream, and what it does when a client leaves."""
