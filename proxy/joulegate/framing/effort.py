"""How much work a body may make: who looks into what passes works from a budget, and gives up beyond it.

Bytes alone bound nothing: a body of brackets, of empty parts or of empty frames costs a hundred times what
the same bytes of text cost, and clients and servers choose which. What is relayed never depends on it.
Measured on a slow core: 1 to 2 us a unit. ``docs/limits.md`` lists the bounds.
"""

WORK_AT_ONCE = 8_192
"""Units of work for one piece of a document that arrives, of at most 256 KiB."""
WORK = 65_536
"""Units of work for one whole document: a conversation of 20,000 messages takes less."""
RECORDS_AT_ONCE = 3_072
"""Events, lines or frames in one piece of a stream."""
PARTS = 1_024
"""Parts of a form: more than any route has fields."""


class TooMuchWork(Exception):
    """Looking into this body costs more than the budget; what it says stays unknown from here on."""
