"""What runs the trials of a study: pools of workers behind one small interface.

loky   processes of this machine; the default, no server
dask   a cluster of this machine, one that is running (`address`), or SLURM (`cluster: slurm`)
ray    this machine, or a cluster that is running (`address`)
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from faeval.core.errors import InputError, unknown

GRACE = 3.0  # seconds in which an orphan may reach the end of its epoch and save
SECONDS_BETWEEN_LOOKS = 0.2
NO_DASHBOARD = {"dashboard": False, "dashboard_address": ":0"}  # the default port may be taken
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Pool:
    """Workers that run functions, and what distinguishes them.

    submit   as of `concurrent.futures.Executor`; its futures raise only where a worker was lost
    breaks   one lost worker takes all functions in flight along, and the pool with them
    parent   process id without which its workers should end; None where the engine sees to that
    shares   its workers see all GPUs of this machine, which have to be dealt out
    """

    submit: Callable[..., "Future[Any]"]
    breaks: bool = False
    parent: int | None = None
    shares: bool = False


Engine = Callable[[int, Mapping[str, Any]], AbstractContextManager[Pool]]


def resolve_engine(given: str | Mapping[str, Any]) -> tuple[Engine, dict[str, Any]]:
    """An engine and its options, from its name or a mapping with `name` and options.

    Raises InputError for an unknown engine or option, and for one whose package is absent.
    """
    options = {"name": given} if isinstance(given, str) else dict(given)
    name = options.pop("name", None)
    if name not in _ENGINES:
        raise unknown("engine", str(name), _ENGINES)
    engine, packages = _ENGINES[name]
    if name == "dask" and options.get("cluster", "local") not in _CLUSTERS:
        raise unknown("dask cluster", str(options["cluster"]), _CLUSTERS)
    for package in [*packages, *(["dask_jobqueue"] if options.get("cluster") == "slurm" else [])]:
        try:
            import_module(package)
        except ImportError:
            extra = "slurm" if package == "dask_jobqueue" else name
            raise InputError(
                f"the package {package} for the engine {name!r}",
                "none that is installed",
                f"pip install 'faeval[{extra}]'",
            ) from None
    if name == "loky" and options:
        raise unknown("option of engine 'loky'", next(iter(options)), ())
    return engine, options


@contextmanager
def _starting(name: str) -> Iterator[None]:
    """Whatever keeps an engine from starting, in one line: wrong options, a port that is taken,
    nobody at an address. The packages raise nearly every kind of exception for it."""
    try:
        yield
    except Exception as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"an engine {name!r} that starts with these options",
            told if len(told) <= 300 else told[:297] + "...",
            "correct the study file, or choose another engine",
        ) from None


@contextmanager
def _loky(workers: int, options: Mapping[str, Any]) -> Iterator[Pool]:
    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        max_workers=workers, initializer=_prepare, initargs=(os.getpid(),), env=ONE_THREAD
    )
    try:
        yield Pool(pool.submit, breaks=True, parent=os.getpid(), shares=True)
    finally:
        # Checkpoints are on disk, and every write is atomic: nothing is lost by the kill.
        pool.shutdown(wait=True, kill_workers=True)


def _prepare(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    """End this worker soon after its parent, whatever it is at: an idle one would wait for ever.
    Writes are atomic, so that any moment will do."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    time.sleep(GRACE)
    os._exit(1)


@contextmanager
def _dask(workers: int, options: Mapping[str, Any]) -> Iterator[Pool]:
    from dask import config
    from distributed import Client

    # A trial whose worker died is ours to run again, one by one.
    quiet = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.admin.large-graph-warning-threshold": "1GB",
    }
    with config.set(quiet), dask_cluster(workers, options) as cluster:
        with _starting("dask"):
            client = Client(cluster, set_as_default=False)
        with client:
            yield Pool(client.get_executor(pure=False).submit, shares=not options)


@contextmanager
def dask_cluster(workers: int, options: Mapping[str, Any]) -> Iterator[Any]:
    """The cluster that `options` describe: an address, `cluster: slurm` with the options of
    dask_jobqueue.SLURMCluster, or processes of this machine with those of LocalCluster."""
    options = dict(options)
    if address := options.pop("address", None):
        if options:
            raise InputError(
                "no further option beside the address of a running dask cluster",
                ", ".join(options),
                "remove them",
            )
        yield address
        return
    cluster, defaults = _cluster_class(options.pop("cluster", "local"), workers)
    with _starting("dask"):
        made = cluster(**{**defaults, **options})
    with made:
        if hasattr(made, "job_script"):
            # Not `scale`: a job that was cancelled or has reached its walltime would leave a gap.
            made.adapt(minimum_jobs=workers, maximum_jobs=workers)
        yield made


_CLUSTERS = ("local", "slurm")


def _cluster_class(kind: str, workers: int) -> tuple[Callable[..., Any], dict[str, Any]]:
    if kind == "local":
        from distributed import LocalCluster

        return LocalCluster, {
            "n_workers": workers,
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": None,
            "scheduler_kwargs": NO_DASHBOARD,
            "memory_limit": 0,
            "silence_logs": logging.CRITICAL,  # what fails is told by us, in one line
        }
    from dask_jobqueue.slurm import SLURMCluster

    prologue = [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    return SLURMCluster, {
        "cores": 1,
        "processes": 1,
        "memory": "4GB",
        "walltime": "04:00:00",
        "job_name": "faeval",
        "job_script_prologue": prologue,
        "scheduler_options": NO_DASHBOARD,
    }


def job_script(given: str | Mapping[str, Any], workers: int) -> str | None:
    """The script that one worker would be submitted with; None where nothing is submitted."""
    _, options = resolve_engine(given)
    if options.get("cluster") != "slurm":
        return None
    options.pop("cluster")
    from dask_jobqueue.slurm import SLURMJob

    _, defaults = _cluster_class("slurm", workers)
    settings = {k: v for k, v in {**defaults, **options}.items() if k != "scheduler_options"}
    return str(SLURMJob(scheduler="tcp://SCHEDULER:PORT", name="faeval", **settings).job_script())


@contextmanager
def _ray(workers: int, options: Mapping[str, Any]) -> Iterator[Pool]:
    import ray  # pyright: ignore[reportMissingImports]

    of_task = {k: options[k] for k in ("num_gpus", "memory", "resources") if k in options}
    of_start = {k: v for k, v in options.items() if k not in of_task}
    if "address" not in of_start:
        of_start = {"num_cpus": workers, "include_dashboard": False, **of_start}

    def submit(function: Callable[..., Any], *args: Any) -> "Future[Any]":
        task = ray.remote(num_cpus=1, max_retries=0, **of_task)(function)
        return task.remote(*args).future()

    try:
        with _starting("ray"):
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **of_start)
        yield Pool(submit)
    finally:
        ray.shutdown()


_ENGINES: dict[str, tuple[Engine, tuple[str, ...]]] = {
    "loky": (_loky, ()),
    "dask": (_dask, ("distributed",)),
    "ray": (_ray, ("ray",)),
}
