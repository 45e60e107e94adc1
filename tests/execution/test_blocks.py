import pytest

from metagen.execution.blocks import fenced, last_block


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```python\nx = 1\n```\nor\n```py\nx = 2\n```\n", "x = 2\n"),
        ("```python\nx = 1\n```\n```\noutput\n```", "x = 1\n"),
        ("```\nx = 1\n```\n```text\nno\n```", "x = 1\n"),
        ("```Python\nx = 1", "x = 1"),
        ("``` python title=a.py\nx = 1\n  ```", "x = 1\n"),
        ("1. Write:\n   ```python\n   if x:\n       y = 1\n   ```\n2. Run.", "if x:\n    y = 1\n"),
        ("- a\n    - b\n      ```py\n      x = 1\n\n      y = 2\n      ```\n", "x = 1\n\ny = 2\n"),
        ("- ```python\n  x = 1\n  ```\n", "x = 1\n"),
        ("1. ```python\n   x = 1\n   ```\n", "x = 1\n"),
        ("\t```python\n\tif x:\n\t\ty = 1\n\t```\n", "if x:\n    y = 1\n"),
        ("> ```python\n> if x:\n>     y = 1\n> ```\n", "if x:\n    y = 1\n"),
        ("~~~python\nx = 1\n~~~\n", "x = 1\n"),
        ("````python\ns = 1\n```\n````\n", "s = 1\n```\n"),
        ("   ```python\nx = 1\n```", "x = 1\n"),
        ("```rust\nfn main() {}\n```", "```rust\nfn main() {}\n```"),
        ("use `f` and ```g``` here", "use `f` and ```g``` here"),
        ("", ""),
    ],
)
def test_the_last_block_is_the_code(text: str, code: str) -> None:
    assert last_block(text, ("python", "py")) == code


def test_what_is_fenced_is_found() -> None:
    assert last_block(f"So:\n{fenced('x = 1', 'python')}\nDone.", ("python",)) == "x = 1\n"
