"""Many workers on many machines, driven by one process. Needs the extra `ray`."""

from metagen.cluster.workers import Workers

__all__ = ["Workers"]
