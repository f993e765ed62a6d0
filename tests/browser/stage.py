"""An engine for screenshots: its names are free, and its only image is called `starter`.

Knows:   how to put containers and images there, and to take them away again.
Refuses: to share an engine with other tests: a class should see what the story says, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.conftest import EngineUnderTest, discard_engine, new_engine, pull_image


@dataclass(frozen=True)
class Stage:
    engine: EngineUnderTest

    def docker(self, *words: str) -> str:
        """Run one of docker's verbs; returns what it printed."""
        return self.engine.command(*words).stdout

    @contextmanager
    def container(self, name: str, *command: str, options: Sequence[str] = ()) -> Iterator[None]:
        """A running container for as long as the block lasts."""
        done = self.engine.command("run", "-d", "--name", name, *options, "starter", *command)
        assert done.returncode == 0, done.stderr
        with self.removed(name):
            yield

    @contextmanager
    def removed(self, name: str, *, image: str = "") -> Iterator[None]:
        """Take away, in the end, what the block makes."""
        try:
            yield
        finally:
            self.docker("rm", "-f", name)
            if image:
                self.docker("rmi", "-f", image)


@contextmanager
def stage_engine(registry: str) -> Iterator[Stage]:
    """An engine of its own with the starter image."""
    engine = new_engine()
    stage = Stage(engine)
    try:
        engine.start()
        long = f"{registry}/starter:latest"
        pull_image(engine.socket, long)
        stage.docker("tag", long, "starter")
        stage.docker("rmi", long)
        yield stage
    finally:
        discard_engine(engine)
