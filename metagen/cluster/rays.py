"""Workers as actors of Ray, which starts them, places them, and says when they die. All of Ray is used here."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from metagen.cluster.places import WorkerDied
from metagen.cluster.worker import Worker
from metagen.distribution import how_to_install
from metagen.errors import BackendGone, InputError, MetagenError
from metagen.system import processors

STORE = 200 * 2**20
"""Bytes of the object store of a Ray that is started here: solutions are small, and few wait."""
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "180", "RAY_worker_niceness": "0"}
"""Settings that Ray reads from the environment: a run tells nobody about itself, Ray may start late on a busy machine,
and engines are no less urgent than other work."""
REACH = 10.0
"""Seconds in which the address of a cluster must answer."""
AT_ONCE = 10_000
"""Calls that one worker answers at a time; most of them wait."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One worker in a process of its own, on any machine."""

    handle: Any
    ray: Any

    async def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns, or raises. Raises `WorkerDied` where the process or its machine is gone."""
        try:
            return await getattr(self.handle, method).remote(*arguments)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MetagenError):
                raise error.cause from None
            raise
        except self.ray.exceptions.RayError as error:
            raise WorkerDied(_reason(error)) from None

    async def stop(self) -> None:
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.handle)


@dataclass(slots=True)
class Ray:
    """A cluster: one that runs at `address`, the one that this process is part of, or one that is started here."""

    workers: int
    gpus: float = 0.0
    address: str = ""
    _ray: Any = None
    _is_ours: bool = False

    def start(self) -> None:
        """Join the cluster, or start one. Raises `InputError` where there is none, or too little in it."""
        try:
            with _signals_kept():
                for name, value in SETTINGS.items():
                    os.environ.setdefault(name, value)
                import ray  # noqa: PLC0415 (an extra, and slow to load)
        except ImportError:
            raise InputError(f"workers need ray, which is not installed: {how_to_install('ray')}") from None
        self._ray = ray
        if not ray.is_initialized():
            with _signals_kept():
                self._join()
            self._is_ours = True
        try:
            self._check_room()
        except InputError:
            self.stop()
            raise

    async def launch(self, number: int) -> Actor:
        """Start the worker of a number, wherever there is room for it, away from others where that can be."""
        made = self._ray.remote(Worker).options(
            num_cpus=1, num_gpus=self.gpus, max_concurrency=AT_ONCE, scheduling_strategy="SPREAD"
        )
        return Actor(made.remote(number), self._ray)

    def stop(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._is_ours:
            with _signals_kept():
                self._ray.shutdown()
            self._is_ours = False

    def _join(self) -> None:
        check_reach(self.address)
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if not self.address:
            settings |= {"num_cpus": max(self.workers, processors()), "object_store_memory": STORE}
            settings |= {"include_dashboard": False, "address": "local"}
        try:
            self._ray.init(**{"address": self.address} | settings)
        except Exception as error:  # Ray raises plain ones where its processes do not come up in time
            said = " ".join(str(error).split())[:300]
            if self.address:
                raise InputError(f"--ray {self.address}: {said}") from error
            raise BackendGone(f"Ray does not start on this machine: {said}") from error

    def _check_room(self) -> None:
        """On a cluster that is as large as it will be."""
        there = self._ray.cluster_resources()
        if not self.address and self.workers * self.gpus > there.get("GPU", 0):
            raise InputError(
                f"{self.workers} workers with {self.gpus:g} GPUs each need {self.workers * self.gpus:g} GPUs, and "
                f"there are {there.get('GPU', 0):g} here: give fewer, or the address of a cluster with --ray"
            )


def check_reach(address: str) -> None:
    """Ray itself tries for many minutes. Raises `InputError` where nobody answers."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), REACH).close()
        except OSError as error:
            raise InputError(f"--ray {address}: no Ray cluster answers there: {error}") from None


def _reason(error: Exception) -> str:
    """Why a worker died, in one line: the last sentence of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray puts handlers of its own in place of those that end a command properly."""
    stops = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in stops}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
