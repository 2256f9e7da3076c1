"""Windows closed into exact books, and figures of requests."""
