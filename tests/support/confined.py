"""Which tests of sandboxes and proofs can run on this machine."""

import shutil

import pytest

from metagen import InputError, Sandbox


def _why_no_sandbox() -> str:
    try:
        Sandbox().check()
    except InputError as error:
        return str(error)
    return ""


WHY_NO_SANDBOX = _why_no_sandbox()
WHY_NO_COQ = WHY_NO_SANDBOX or ("" if shutil.which("coqc") else "there is no coqc: apt-get install coq")

needs_sandbox = pytest.mark.skipif(bool(WHY_NO_SANDBOX), reason=WHY_NO_SANDBOX or "-")
needs_coq = pytest.mark.skipif(bool(WHY_NO_COQ), reason=WHY_NO_COQ or "-")
