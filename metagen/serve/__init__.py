"""Serves strategies as models, by OpenAI's interface: `metagen.serve.app(…)`. Needs the extra `serve`."""

from typing import TYPE_CHECKING

from metagen.lazy import load_lazily

if TYPE_CHECKING:
    from metagen.serve.application import app
    from metagen.serve.keys import Key, read_keys
    from metagen.serve.limits import Limits

__all__ = ["Key", "Limits", "app", "read_keys"]

load_lazily(__name__)
