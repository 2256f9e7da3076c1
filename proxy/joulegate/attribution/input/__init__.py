"""What attribution is told: requests, readings, foreign load."""
