r"""What a number measures, where its unit is a usual one: `5 hours` is not `5 minutes`, and `5 km/h` is not `5 m/s`."""

import re

from metagen.answers.numerals import number_key

UNITS = {
    "s": "second sec", "min": "minute", "h": "hour hr", "day": "", "week": "", "month": "", "year": "yr",
    "mm": "millimetre millimeter", "cm": "centimetre centimeter", "m": "metre meter", "km": "kilometre kilometer",
    "in": "inch inche", "ft": "foot feet", "yd": "yard", "mi": "mile",
    "mg": "milligram", "g": "gram gramme", "kg": "kilogram", "oz": "ounce", "lb": "pound",
    "ml": "millilitre milliliter", "l": "litre liter", "gal": "gallon", "qt": "quart", "pt": "pint",
    "Å": "angstrom", "μm": "micrometre micrometer", "μs": "microsecond", "μg": "microgram", "μl": "μL",
    "μA": "", "μV": "", "μF": "", "μH": "", "μW": "", "μC": "", "μΩ": "", "mΩ": "", "Ω": "ohm",
    "kΩ": "kiloohm kilohm", "MΩ": "", "GΩ": "",
    "$": "dollar usd dólar dólare доллар доллара долларов ドル 달러 ดอลลาร์", "¢": "cent", "€": "euro eur",
    "°": "degree deg", "rad": "radian", "°c": "celsius", "°f": "fahrenheit", "K": "kelvin",
    "ms": "millisecond", "ns": "nanosecond", "nm": "nanometre nanometer", "dm": "", "acre": "", "ha": "hectare",
    "mi/h": "mph", "km/h": "kph kmh", "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz",
    "J": "joule", "kJ": "kilojoule", "cal": "calorie", "kcal": "kilocalorie", "kWh": "", "eV": "electronvolt",
    "keV": "", "MeV": "", "GeV": "", "W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "mW": "",
    "N": "newton", "kN": "kilonewton", "V": "volt", "kV": "kilovolt", "A": "ampere amp", "mol": "mole", "kmol": "",
    "Pa": "pascal", "kPa": "kilopascal", "MPa": "megapascal", "atm": "", "bar": "", "mmHg": "", "dB": "decibel",
    "bit": "", "byte": "", "kB": "kilobyte KB", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
}  # fmt: skip
"""Units by symbol, each with its other names in the singular."""
_CHINESE = {
    "s": "秒", "min": "分钟 分鐘", "h": "小时 小時 个小时 個小時", "day": "天", "week": "周 週 个星期",
    "month": "个月 個月", "year": "年", "mm": "毫米", "cm": "厘米", "m": "米", "km": "千米 公里",
    "cm^2": "平方厘米", "m^2": "平方米", "km^2": "平方千米 平方公里", "cm^3": "立方厘米", "m^3": "立方米",
    "mg": "毫克", "g": "克", "kg": "千克 公斤", "ml": "毫升", "l": "升", "$": "美元", "€": "欧元",
}  # fmt: skip
_NAMES = {word: unit for unit, words in UNITS.items() for word in (unit, *words.split())}
_NAMES |= {word: unit for unit, words in _CHINESE.items() for word in (unit, *words.split())}
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}

LONGEST = 100
"""Characters of a number with its unit."""
_SIGN = re.compile(r"[^\W\d_]|[$¢€°]")
_NUMBER = re.compile(r"\\[dt]?frac\s*(?:\{[0-9]+\}|[0-9])\s*(?:\{[0-9]+\}|[0-9])|[0-9][0-9.,]*(?:\s*/\s*[0-9]+)?")
_SIGNED = re.compile(rf"(?:[^=]*=)?[^a-zA-Z0-9.-]*(-?(?:{_NUMBER.pattern}))")
"""A number at the beginning, or behind the name of what is measured."""
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
_OHM = re.compile(r"\s*\\Omega(?![a-zA-Z])")
_LAYOUT = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mbox|mathrm|mathbf|operatorname|[ ,;:!()])|[{}~]")
_TOKEN = re.compile(r"°\s*[cf]\b|[$¢€°/]|\^-?[0-9]|[^\W\d_]++", re.IGNORECASE)
_ALL_TOKENS = re.compile(rf"(?:{_TOKEN.pattern}|[-.\s])*", re.IGNORECASE)


def measure_others(one: str, other: str) -> bool:
    """Return whether both texts name the unit of their number, and not the same.

    What one leaves out is no difference: `20 dollars` for `20 dollars per hour`, and degrees for those of Celsius.
    """
    if not (_SIGN.search(one) and _SIGN.search(other)) or max(len(one), len(other)) > LONGEST:
        return False
    units = _unit(one), _unit(other)
    if not all(units):
        return False
    (above, _, below), (over, _, under) = (unit.partition("/") for unit in units)
    if above != over:
        return bool(above and over) and not ("°" in (above, over) and above[0] == over[0])
    return bool(below and under and below != under)


def measure_alike(one: str, other: str) -> bool:
    """Return whether both texts are one number of one unit, as `5 m` and `5 meters` are."""
    if not (_SIGN.search(one) and _SIGN.search(other)) or max(len(one), len(other)) > LONGEST:
        return False
    numbers = [found and number_key(found[1]) for found in map(_SIGNED.match, (one, other))]
    return bool(numbers[0]) and numbers[0] == numbers[1] and bool(unit := _unit(one)) and unit == _unit(other)


def _unit(text: str) -> str:
    """The unit of a number, written the same for all its names, or nothing if there is none that is known."""
    if text.count("$") - text.count(r"\$") > 1:
        text = re.sub(r"(?<!\\)\$", "", text)  # around a formula
    text = _NUMBER.sub("", _DEGREES.sub("°", text.rpartition("=")[2]), count=1)
    text = _LAYOUT.sub(" ", _OHM.sub("Ω", text)).replace(r"\$", "$")
    if not _ALL_TOKENS.fullmatch(text):
        return ""
    unit, power = "", ""
    for found in _TOKEN.finditer(text):
        token = found[0].replace(" ", "").lower()
        if token in _POWERS:
            power = _POWERS[token]
        elif token in {"per", "/"}:
            unit += "/"
        elif token[0] == "^":
            unit += token
        elif name := _NAMES.get(found[0]) or _NAMES.get(token) or _NAMES.get(token.removesuffix("s")):
            unit, power = unit.removesuffix("°" if name[0] == "°" else "") + name + power, ""
        else:
            return ""
    return unit
