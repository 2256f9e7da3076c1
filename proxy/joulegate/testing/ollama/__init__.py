"""A stand-in for Ollama: its routes and its bytes on the wire, the text by a real llama.cpp server behind it.

    python -m joulegate.testing.ollama --upstream http://127.0.0.1:8001 --model gemma3:270m --port 11434

Written from the source of Ollama 0.33.0-rc2 (https://github.com/ollama/ollama, ``server/routes.go`` and
``api/types.go``): a template makes one prompt of the messages, the runner completes it, and what the runner
reports becomes counts and durations. Tools, thinking, images and the making of models are left out. What is
under ``/v1`` is passed to llama.cpp as it is, where Ollama translates it; only the list of models is its own.
"""

from joulegate.testing.ollama.routes import REMOTE, VERSION
from joulegate.testing.ollama.server import OllamaServer

__all__ = ["REMOTE", "VERSION", "OllamaServer"]
