"""Energy sources read in threads of their own."""
