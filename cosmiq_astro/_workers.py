"""Work handed out to processes of this machine, supervised, or to a dask cluster."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed

__all__ = ["in_processes", "on_cluster"]

_ATTEMPTS = 3
_PATIENCE = 10.0  # seconds
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def in_processes(work, tasks, jobs):
    """
    Work on tasks in fresh processes, reached by pipes alone.

    A worker that dies takes nothing with it: its task is given to a new one,
    and has failed when three have died of it. The processes are interpreters
    of their own, so that it does not matter how the caller was started, or
    whether its script has a guard; its environment stays as it is.

    Parameters
    ----------
    work : callable
        Called with each task; can be pickled, as can what it returns.
    tasks : sequence
        What to work on.
    jobs : int
        Processes.

    Yields
    ------
    task : object
        In the order in which they end.
    outcome : object
        What ``work`` returned; a `str` that says why, if workers died.

    Raises
    ------
    RuntimeError
        If a process cannot start.
    """
    crew, pool = _Crew(pickle.dumps(work), jobs), ThreadPoolExecutor(jobs)
    try:
        given = {pool.submit(crew.see_to, task): task for task in tasks}
        for future in as_completed(given):
            yield given[future], future.result()
    finally:
        crew.dismiss()
        pool.shutdown(cancel_futures=True)
        for worker in crew.workers:
            worker.end()


class _Crew:
    """The processes that are alive, so that all can be ended at any moment."""

    def __init__(self, work, jobs):
        cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
        share = dict.fromkeys(_THREADS, str(max(1, len(cores) // jobs)))
        path = os.pathsep.join(part or os.getcwd() for part in sys.path)
        self.environment = share | dict(os.environ) | {"PYTHONPATH": path}
        self.work, self.workers, self.idle = work, set(), []
        self.lock, self.is_dismissed = threading.Lock(), False

    def see_to(self, task):
        """Return what a worker answers; a text if workers died of it."""
        for _ in range(_ATTEMPTS):
            worker = self.hire()
            answer = worker.ask(task)
            if answer is not None:
                self.idle.append(worker)
                return answer
            reason = worker.end()
        return (
            f"{_ATTEMPTS} workers died of it, the last by {reason}: memory may have run out (fewer "
            "jobs), or a library crashed"
        )

    def hire(self):
        """Return a worker that is ready."""
        with contextlib.suppress(IndexError):
            return self.idle.pop()
        for _ in range(_ATTEMPTS):
            with self.lock:
                if self.is_dismissed:
                    raise CancelledError
                worker = _Worker(self.environment)
                self.workers.add(worker)
            if worker.ask(self.work) is not None:
                return worker
            reason = worker.end()
        raise RuntimeError(f"{_ATTEMPTS} workers could not start, the last ended by {reason}")

    def dismiss(self):
        """End all workers: they may tidy up, but not for long."""
        with self.lock:
            self.is_dismissed = True
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.wait()


class _Worker:
    """A process that answers each message that it is sent by one."""

    def __init__(self, environment):
        # A group of its own: Ctrl-C is for the supervisor, which ends it in order.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from cosmiq_astro._workers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0 if os.name == "posix" else None,
        )

    def ask(self, message):
        """Return the answer; None if the worker dies of it."""
        try:
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return None

    def end(self):
        """Let the process end, and say how it did."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        code = self.wait()
        self.process.stdout.close()
        # Those of real time have no names.
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"exit status {code}"

    def wait(self):
        """Return the exit status of a process that is about to end, or is made to."""
        try:
            return self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def serve():
    """Answer messages until there are none: the first is the work, each other one a task."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, BrokenPipeError):
        work = pickle.loads(pickle.load(sys.stdin.buffer))
        answer = "ready"
        while True:
            pickle.dump(answer, answers)
            answers.flush()
            answer = work(pickle.load(sys.stdin.buffer))
    os._exit(0)


def on_cluster(work, tasks, scheduler, security, *, insecure):
    """
    Work on tasks in the workers of a dask cluster.

    Parameters
    ----------
    work, tasks : callable, sequence
        As for `in_processes`.
    scheduler : str
        Address, ``tls://host:8786``.
    security : `distributed.Security` or None
        Certificates; those of dask's configuration if None.
    insecure : bool
        Whether an address without TLS may be used.

    Returns
    -------
    run : generator
        As from `in_processes`. How often dask tries again is a setting of its
        scheduler (``distributed.scheduler.allowed-failures``).

    Raises
    ------
    ImportError
        If there is no dask.
    ValueError
        If the address is not of TLS, and ``insecure`` is False.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError("a scheduler needs dask: pip install 'cosmiq_astro[dask]'") from error
    if scheduler.startswith("tls://"):
        security = security or distributed.Security(require_encryption=True)
    elif not insecure:
        raise ValueError(
            f"scheduler is {scheduler!r}: whoever reaches a scheduler without TLS can run code in "
            "its workers and here; give tls://… with certificates (distributed.Security), or set "
            "insecure_scheduler if nobody else reaches it"
        )

    def run():
        with distributed.Client(scheduler, security=security, set_as_default=False) as client:
            shared = client.scatter(work, broadcast=True)
            given = {
                client.submit(_call, shared, pickle.dumps(task), pure=False): task for task in tasks
            }
            for future in distributed.as_completed(list(given), loop=client.loop):
                error = future.exception()
                answer = f"the worker died: {error}".splitlines()[0] if error else future.result()
                yield given.pop(future), answer

    return run()


def _call(work, task):
    return work(pickle.loads(task))
