"""The Ray that a run uses: the user's, or one of its own that only this machine can reach and that ends with it."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from vitscope.errors import MissingExtraError, brief
from vitscope.interruption import held
from vitscope.storage.scratch import remove_scratch, scratch_place
from vitscope.studies.errors import StudyError

OBJECT_STORE = 80_000_000
"""Bytes of shared memory of a cluster of our own: orders and answers are small. Ray refuses less than 78,643,200."""
OWN = {
    # Without passwords, and for that on 127.0.0.1 alone: Ray itself would listen on every network of the machine,
    # and knows this one variable for it, on every system.
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""The environment of a cluster of our own; Ray reads it when it is imported."""
_NETWORK = "ENABLE_RAY_CLUSTER"
"""What Ray makes of the second of these."""
_QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}


class Cluster:
    """A connection to Ray, with what has to be put back when it ends.

    The first of these that is there is used: a Ray that this process is connected to, ``address``, ``RAY_ADDRESS``, a
    cluster that ``ray start`` began on this machine, and with ``workers`` one of its own.

    Args:
        workers: How many shards are computed at the same time.
        address: Of a cluster.
        gpu: Whether the work needs GPUs.

    Raises StudyError when there is no cluster or it does not answer, MissingExtraError without Ray.
    """

    def __init__(self, workers: int | None, address: str | None, *, gpu: bool) -> None:
        self.gpu, self.own = gpu, False
        self._before: dict[str, str | None] = {}
        self._temporary: Path | None = None
        self._constant: tuple[Any, Any] | None = None
        self._joined = False
        try:
            self._connect(workers, address)
        except BaseException:  # Ray's start takes many seconds, and Ctrl-C may come in any of them
            self.close()
            raise

    def _connect(self, workers: int | None, address: str | None) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingExtraError("ray", "ray", "the engine ray")
        loaded = sys.modules.get("ray")
        if loaded is not None and loaded.is_initialized():
            self.ray: Any = loaded
        elif (where := address or os.environ.get("RAY_ADDRESS") or _running_here()) not in (None, "local"):
            self.ray = _imported()
            self._join(str(where))
        elif workers is not None:
            self._start(workers)
        else:
            raise StudyError(
                "there is no Ray cluster; give --workers N to start one on this machine, or --address"
            )
        if self.gpu and not self.room() and (self.own or workers is None):
            raise StudyError("no machine of the Ray cluster has a GPU; leave --device out")

    def _join(self, where: str) -> None:
        try:
            if where != "auto" and "://" not in where:
                _ask(where)  # Ray itself would try for minutes
            self._init(address=where)
        except Exception as error:
            raise StudyError(
                f"no Ray cluster answers at {where} ({brief(error)}); check the address, and that it runs the same "
                "version of Ray"
            ) from None

    def _start(self, workers: int) -> None:
        for name, value in OWN.items():
            self._before[name] = os.environ.get(name)
            os.environ[name] = value
        self.own = True
        self.ray = _imported()
        constants = sys.modules.get("ray._private.ray_constants")
        if hasattr(
            constants, _NETWORK
        ):  # as the variable says, also where the caller has imported Ray before
            self._constant = (constants, getattr(constants, _NETWORK))
            setattr(constants, _NETWORK, False)
        self._temporary = scratch_place()
        try:
            self._init(
                address="local",
                num_cpus=workers,
                num_gpus=None if self.gpu else 0,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                _temp_dir=str(self._temporary),
            )
        except Exception as error:
            raise StudyError(
                f"Ray could not be started on this machine ({brief(error)}); start it with: ray start --head"
            ) from None
        if not self.ray.get_runtime_context().gcs_address.startswith(("127.", "localhost", "[::1]")):
            raise StudyError(
                "this version of Ray cannot be kept from the network; start it with ray start --head, or upgrade it"
            )

    def _init(self, **how: Any) -> None:
        """Ray's own start, without its handler of SIGTERM, which would end the process at once."""
        handler = signal.getsignal(signal.SIGTERM)
        self._joined = True
        try:
            self.ray.init(**how, **_QUIET)
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler if handler is not None else signal.SIG_DFL)

    def room(self) -> int:
        """How many shards the cluster can compute at the same time, as it is now."""
        return int(self.ray.cluster_resources().get("GPU" if self.gpu else "CPU", 0))

    def close(self) -> None:
        """Leave the cluster; end it and remove all of it when it is our own."""
        with held():
            if self._joined:
                self._joined = False
                self.ray.shutdown()
            if self._temporary is not None:
                remove_scratch(self._temporary)
                self._temporary = None
            if self._constant is not None:
                setattr(self._constant[0], _NETWORK, self._constant[1])
                self._constant = None
            for name, value in self._before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            self._before.clear()


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise StudyError(f"Ray cannot be imported ({brief(error)}); install it anew") from None
    return ray


def _running_here() -> str | None:
    """``"auto"`` when ``ray start`` left a cluster on this machine that still answers.

    Ray itself would look through all processes, too, and find what other runs started for themselves.
    """
    note = Path(os.environ.get("RAY_TMPDIR") or "/tmp", "ray", "ray_current_cluster")
    try:
        _ask(note.read_text().strip())
    except (OSError, ValueError):
        return None
    return "auto"


def _ask(where: str) -> None:
    """Raise OSError unless something listens at host:port, ValueError when it is none."""
    host, _, port = where.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=5.0):
        pass
