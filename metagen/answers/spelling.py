r"""Writes the characters of other alphabets and of typography as the ASCII and LaTeX in which most answers come.

`４２` becomes `42`, `½` becomes `1/2`, `x²` becomes `x^{2}`, `√2` becomes `\sqrt{2}`, and any dash becomes a minus.
"""

import re
import unicodedata

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎", "0123456789+-=()", strict=True))

_NAMES = {
    **dict.fromkeys("−–—‐‑‒―﹣", "-"),
    **dict.fromkeys("‘’‛′", "'"),
    **dict.fromkeys("“”", '"'),
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
    "±": r"\pm ", "∓": r"\mp ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∠": r"\angle ", "º": "°", "˚": "°",
    "\N{ARABIC DECIMAL SEPARATOR}": ".", "\N{ARABIC THOUSANDS SEPARATOR}": ",", "\N{ARABIC PERCENT SIGN}": "%",
    "\N{IDEOGRAPHIC COMMA}": ",",
    "π": r"\pi ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda nu xi rho sigma tau phi chi psi omega"
    " Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi"
)
_NAMES |= {letter: rf"\{name} " for letter, name in zip("αβγδεζηθικλνξρστφχψωΓΔΘΛΞΠΣΦΨ", _GREEK.split(), strict=True)}
"""Without μ and Ω, which may be units."""
_SYMBOLS = str.maketrans(_NAMES)

_VULGAR = re.compile(r"(?P<whole>[0-9]?)(?P<fraction>[¼-¾⅐-⅞↉])")
_OVERLINE = "\N{COMBINING OVERLINE}"
_OVERLINED = re.compile(f"(?:[0-9]{_OVERLINE})+")
_ROOT = re.compile(r"(?P<root>[√∛∜])\s*(?:\((?P<inner>[^()]*)\)|(?P<bare>[0-9]+(?:\.[0-9]+)?|[A-Za-z]))")
_ROOTS = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}


_RAISED, _LOWERED = (re.compile(f"[{''.join(signs)}]+") for signs in (_SUPERSCRIPTS, _SUBSCRIPTS))
_ZEROS = {"百": 2, "千": 3, "万": 4, "萬": 4, "亿": 8, "億": 8, "兆": 12}
_TIMES_TEN = re.compile(r"(?<=[0-9])\s?(?:百(?!分)|千(?![米克瓦卡赫帕焦伏字])|[万萬亿億]|兆(?![瓦赫帕焦字]))+")
"""Chinese and Japanese words of numbers behind a figure; `5千米` is rather 5 kilometres."""
_POWER_OF_TEN = re.compile(r"(?<![0-9]10)(?<=10)[⁻⁺]?[⁰¹²³⁴-⁹]+")


def to_ascii(text: str) -> str:
    """Return `text` with what is not ASCII spelled as LaTeX where it has a name there. Letters of words stay."""
    if text.isascii():
        return text
    text = _TIMES_TEN.sub(_zeros, text)
    text = _RAISED.sub(lambda run: "^{" + _raised(run[0]) + "}", text)
    text = _LOWERED.sub(lambda run: "_{" + "".join(map(_SUBSCRIPTS.__getitem__, run[0])) + "}", text)
    text = _VULGAR.sub(_fraction, text)
    text = _OVERLINED.sub(lambda run: r"\overline{" + run[0].replace(_OVERLINE, "") + "}", text)
    text = _ROOT.sub(lambda found: f"{_ROOTS[found['root']]}{{{found['inner'] or found['bare'] or ''}}}", text)
    text = unicodedata.normalize("NFKC", text.translate(_SYMBOLS)).translate(_SYMBOLS)
    return text if text.isascii() else "".join(map(_digit, text))


def in_figures(text: str) -> str:
    """Return a whole reply with the digits of other scripts, `½`, `10²` and `5万` in ASCII; all else stays as it is."""
    if text.isascii():
        return text
    text = _TIMES_TEN.sub(_zeros, text)
    text = _VULGAR.sub(_fraction, _POWER_OF_TEN.sub(lambda found: "^{" + _raised(found[0]) + "}", text))
    return "".join(map(_digit, text))


def _zeros(found: re.Match[str]) -> str:
    return rf" \times 10^{{{sum(_ZEROS[sign] for sign in found[0].strip())}}}"


def _raised(signs: str) -> str:
    return "".join(map(_SUPERSCRIPTS.__getitem__, signs))


def _fraction(found: re.Match[str]) -> str:
    """`3½` is a mixed number."""
    written = unicodedata.normalize("NFKC", found["fraction"]).replace("\N{FRACTION SLASH}", "/")
    return f"{found['whole']} {written}" if found["whole"] else written


def _digit(character: str) -> str:
    return str(unicodedata.decimal(character)) if character.isdecimal() else character
