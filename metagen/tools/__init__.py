"""Tools: what chains can call, a text in and a text out."""

from typing import TYPE_CHECKING

from metagen.lazy import load_lazily

if TYPE_CHECKING:
    from metagen.tools.calculator import Calculator
    from metagen.tools.coq import Coq
    from metagen.tools.python import Python
    from metagen.tools.search import Search

__all__ = ["Calculator", "Coq", "Python", "Search"]

load_lazily(__name__)
