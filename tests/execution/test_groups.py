import subprocess
import sys
from collections.abc import Iterator

import pytest

from metagen.execution import groups
from metagen.execution.groups import Group, memory_group

MIB = 1 << 20
USE = "import sys; open(sys.argv[1], 'w').write('0'); kept = bytes(int(sys.argv[2])); print(len(kept))"


@pytest.fixture
def group() -> Iterator[Group]:
    with memory_group(64 * MIB) as made:
        if made is None:
            pytest.skip("this process may make no control groups")
        yield made


@pytest.mark.parametrize(("used", "overflows"), [(MIB, False), (200 * MIB, True)])
def test_all_memory_counts_and_too_much_ends_a_process(group: Group, used: int, overflows: bool) -> None:
    use = USE.replace("bytes(", "b'1' * (")
    command = [sys.executable, "-I", "-c", use, str(group.entrance), str(used)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode != 0) == overflows
    assert group.overflowed() == overflows


def test_a_group_is_gone_afterwards(group: Group) -> None:
    with memory_group(MIB) as other:
        assert other
        assert other.folder.exists()
    assert not other.folder.exists()
    assert group.folder.exists()


def test_groups_of_processes_that_were_killed_are_removed(group: Group) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    start, namespace, *_ = group.folder.name.split("-")
    left = group.folder.with_name(f"{start}-{namespace}-{process.pid}-left")
    elsewhere = group.folder.with_name(f"{start}-{namespace}1-{process.pid}-left")
    for each in (left, elsewhere):
        each.mkdir()
    groups._parent.cache_clear()
    with memory_group(MIB):
        assert not left.exists()
        assert group.folder.exists()
        assert elsewhere.exists(), "its process may live: it is not visible from here"
    elsewhere.rmdir()
