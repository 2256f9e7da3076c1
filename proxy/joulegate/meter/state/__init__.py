"""What the meter knows of devices, gates and upstreams now."""
