"""Models that Ollama has elsewhere, told by their names.

A name whose tag is or ends in ``cloud`` is passed on to ollama.com without that end
(https://github.com/ollama/ollama, ``internal/modelref/modelref.go`` and ``server/cloud_proxy.go``).
"""

import re

_CLOUD = re.compile(r"(?P<base>[^:]+(?::[^:]+)*?)(?::cloud|(?P<tag>:[^:/]*)-cloud)\s*", re.IGNORECASE)


def base_of(model: str | None) -> str | None:
    """Return the name under which a model is asked for elsewhere; ``None`` if it is here."""
    match = _CLOUD.fullmatch(model) if model else None
    return match["base"] + (match["tag"] or "") if match else None


def passed_on(asked: str | None, answered: str | None) -> bool:
    """Whether the answer shows that the request went elsewhere: its model has lost that end of its name.

    A server of another kind may have a model of such a name; it answers with the name as asked.
    """
    base = base_of(asked)
    return base is not None and base == answered
