"""What the gate tells the meter of a request, and what it hears of it to tell: observers and events."""
