"""HTTP: accept, relay, cancel, upgrade, admit. It never knows GPUs, tokens or grams."""
