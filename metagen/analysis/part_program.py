"""A helper of `parts`: reads a task and then spans, a line each, and writes each part after its length.

It ends with its input, at the first part that it cannot read, and at once if another copy of metagen has started it.
"""

import sys
from pathlib import Path

import msgspec

from metagen.analysis import parts
from metagen.analysis.parts import HEAD, Span, Task, read_part
from metagen.answers.spec import parse_answers


def main() -> None:
    lines = sys.stdin.buffer
    task = msgspec.json.decode(lines.readline(), type=Task)
    if task.code != parts.__file__:
        return
    known = {spec: parse_answers(spec) for spec in set(task.kinds.values())}
    kinds = {name: known[spec] for name, spec in task.kinds.items()}
    for line in lines:
        part = read_part(Path(task.path), msgspec.json.decode(line, type=Span), kinds, frozenset(task.whole))
        data = msgspec.msgpack.encode(part)
        sys.stdout.buffer.write(len(data).to_bytes(HEAD) + data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
