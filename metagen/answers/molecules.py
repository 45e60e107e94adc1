r"""Chemical formulas, which are written with and without the layout of LaTeX: `H2O`, `H_2O`, `\ce{H2O}`."""

import re

_LAYOUT = re.compile(r"\\(?:ce|text(?:rm|normal)?|mathrm|mathbf|operatorname|mbox)\s*\{([^{}]*)\}")
_BRACED = re.compile(r"(?<=[_^])\{([0-9]{0,3}[+-]?)\}(?![0-9])")
_TO_BASE = re.compile(r"[0-9A-F]+_(?:[0-9]+|\{[0-9]+\})")
"""A number to a base, such as `A_{16}`."""
_ELEMENT = (
    "(?:A[cglmrstu]|B[aeihkr]?|C[adelmorsu]?|D[by]|E[rsu]|F[er]?|G[ade]|H[efgos]?|I[nr]?|Kr?|L[airu]|M[dgnot]|N[abdeip]?"
    "|Os?|P[abdmortu]?|R[abehnu]|S[bceimnr]?|T[abceilhm]|U|V|W|Xe|Yb?|Z[nr])"
)
_COUNT = "(?:_?(?:[2-9]|[1-9][0-9]{1,2}))?"
_FORMULA = re.compile(rf"\(?{_ELEMENT}{_COUNT}(?:\(?{_ELEMENT}{_COUNT}|\){_COUNT})*(?:\^[2-9]?[+-])?")


def molecules_alike(one: str, other: str) -> bool:
    """Return whether two texts are one chemical formula."""
    formula = _formula(one)
    return formula is not None and formula == _formula(other)


def _formula(text: str) -> str | None:
    """A chemical formula without its layout; `None` for what is none."""
    if _TO_BASE.fullmatch(text):
        return None
    bare = "".join(_LAYOUT.sub(r"\1", _BRACED.sub(r"\1", text)).split())
    return bare.replace("_", "") if _FORMULA.fullmatch(bare) else None
