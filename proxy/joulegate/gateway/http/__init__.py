"""HTTP on bare asyncio protocols: heads, bodies, connections of clients and upstreams."""
