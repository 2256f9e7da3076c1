"""The one owner of a host's devices: samples, settles, keeps the books, answers the admin API."""
