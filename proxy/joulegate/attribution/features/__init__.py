"""Where the work of requests lies in time, as numbers a rule can use."""
