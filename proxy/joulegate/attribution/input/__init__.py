"""What attribution gets: requests, readings, foreign load."""
