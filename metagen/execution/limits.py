"""What one command may use, and the command that holds it to that."""

from dataclasses import dataclass
from math import ceil

from metagen.errors import InputError
from metagen.settings import is_number, require_whole

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use."""

    seconds: float = 10.0
    """Of work, for each process: CPU time, so that a busy machine changes no verdict. Rounded up to whole ones."""
    clock: float = 60.0
    """Seconds by the clock."""
    memory: int = 2048 * MIB
    """Bytes of address space for each process, and of memory in use by all of them."""
    disk: int = 64 * MIB
    """Bytes of one file, and of each of the folders that can be written to; they are in memory."""
    processes: int = 64
    """Processes and threads."""
    output: int = MIB
    """Bytes of the output, and of the errors."""

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("clock", self.clock)):
            if not is_number(value) or value <= 0:
                raise InputError(f"Limits: {name} must be positive and finite, not {value!r}")
        require_whole(self, memory=self.memory, disk=self.disk, processes=self.processes, output=self.output)


def with_limits(limits: Limits, processes: int | None) -> list[str]:
    import resource  # noqa: PLC0415 (not on Windows)

    seconds = ceil(limits.seconds)
    values = {
        "cpu": (resource.RLIMIT_CPU, seconds, seconds + 1),
        "as": (resource.RLIMIT_AS, limits.memory, limits.memory),
        "fsize": (resource.RLIMIT_FSIZE, limits.disk, limits.disk),
        "core": (resource.RLIMIT_CORE, 0, 0),
        "nofile": (resource.RLIMIT_NOFILE, 256, 256),
    }
    if processes is not None:
        values["nproc"] = (resource.RLIMIT_NPROC, processes, processes)
    return ["prlimit", *(f"--{name}={_below(*value)}" for name, value in values.items())]


def _below(which_limit: int, soft: int, hard: int) -> str:
    """Limits are never raised, which only root might."""
    import resource  # noqa: PLC0415 (not on Windows)

    most = resource.getrlimit(which_limit)[1]
    if most == resource.RLIM_INFINITY:
        return f"{soft}:{hard}"
    return f"{min(soft, most)}:{min(hard, most)}"
