"""Namespaces, links and jobs for the tests of single components."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from netlab.component import Context
from netlab.kernel import executor, netns
from netlab.kernel.ops import CreateNamespace, Op


class Bench:
    """Namespaces of one test, all gone at the end; names are unique to the process."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self.directory = directory / "ns"
        self.prefix = f"nlt{os.getpid()}{prefix}"
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        netns.mount_directory(self.directory)
        self.stack.callback(netns.unmount_directory, self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def name(self, node: str) -> str:
        return f"{self.prefix}-{node}"

    def path(self, node: str) -> Path:
        return self.directory / self.name(node)

    def namespace(self, node: str) -> Path:
        executor.apply([CreateNamespace(self.name(node))], self.directory)
        return self.path(node)

    def apply(self, *ops: Op) -> None:
        executor.apply(ops, self.directory)

    @contextmanager
    def job(self, node: str, run: Callable[[Context], Awaitable[None]], context: Context) -> Iterator[Context]:
        """A component's job in a thread that stands in the node's namespace; ready when the block begins."""
        reader, writer = os.pipe()
        context.ready_fd = writer
        failures: list[BaseException] = []
        loops: list[asyncio.AbstractEventLoop] = []

        async def body() -> None:
            loops.append(asyncio.get_running_loop())
            await run(context)

        def thread() -> None:
            try:
                netns.enter(self.path(node))
                asyncio.run(body())
            except BaseException as error:
                failures.append(error)
            finally:
                if context.ready_fd is not None:
                    os.close(context.ready_fd)

        worker = threading.Thread(target=thread)
        worker.start()
        try:
            # A worker that the job forks may hold the pipe open, so its end alone would not tell of a failure.
            while not select.select([reader], [], [], 0.05)[0] and worker.is_alive():
                pass
            if worker.is_alive():
                yield context
        finally:
            if loops and worker.is_alive():
                loops[0].call_soon_threadsafe(context.stopping.set)
            worker.join(10)
            os.close(reader)
            for failure in failures:
                raise failure
