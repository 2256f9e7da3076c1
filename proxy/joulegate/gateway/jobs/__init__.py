"""Work that outlives the exchange that began it."""
