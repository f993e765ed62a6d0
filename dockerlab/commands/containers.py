"""Containers: make, start, stop, change and remove them.

Knows:   one request per verb and container; a failure does not keep the others from their turn.
Refuses: to run programs in the foreground (`programs.py`), to list (`container_reports.py`).
Source:  docs.docker.com/reference/cli/docker/container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dockerlab.commands.failures import translated
from dockerlab.commands.filters import read_filters
from dockerlab.commands.grammar import Arguments, Verb, many, number, switch, text
from dockerlab.commands.results import Done
from dockerlab.commands.run_options import CREATE_FLAGS, create_document, resources
from dockerlab.commands.session import Session
from dockerlab.errors import DockerlabError


def create(session: Session, args: Arguments) -> Done:
    """Make a container and leave it alone."""
    return Done(action="create", names=(create_container(session, args),), identifiers=True)


def create_container(session: Session, args: Arguments, *, attached: bool = False) -> str:
    """Make a container, pulling its image first where it is missing; return its id."""
    import os  # noqa: PLC0415 - the environment is looked at here and nowhere else

    from dockerlab.commands.images import ensure  # noqa: PLC0415 - images know containers too

    document = create_document(
        args,
        attached=attached,
        environ=os.environ,
        env_files=[Path(name).read_text() for name in args.all("env-file")],
        working_folder=os.getcwd(),  # noqa: PTH109 - text, as the API wants it
    )
    ensure(session, args.words[0], args.text("pull", "missing"), args.text("platform"))
    return submit(session, document, args.text("name"), args.text("platform"))


def submit(
    session: Session, document: Mapping[str, Any], name: str = "", platform: str = ""
) -> str:
    """POST a container's document; warnings of the host go beside the result."""
    with translated(session.host.url):
        answer = session.api.create_container_from_config(
            document, name=name or None, platform=platform or None
        )
    for warning in answer.get("Warnings") or ():
        session.feedback.note(f"WARNING: {warning}")
    return str(answer["Id"])


def start(session: Session, args: Arguments) -> Any:
    """Start containers; with -a, listen to one."""
    if args.on("attach") or args.on("interactive"):
        from dockerlab.commands.programs import start_attached  # noqa: PLC0415 - it knows us too

        return start_attached(session, args.words[0], stdin=args.on("interactive"))
    return _each("start", args.words, session.api.start, session)


def stop(session: Session, args: Arguments) -> Done:
    timeout = args.number("time") if args.given("time") else args.number("timeout")
    return _each("stop", args.words, lambda name: _stop(session, name, timeout), session)


def kill(session: Session, args: Arguments) -> Done:
    signal = args.text("signal") or None
    return _each("kill", args.words, lambda name: session.api.kill(name, signal), session)


def restart(session: Session, args: Arguments) -> Done:
    timeout = args.number("time") if args.given("time") else 10
    return _each(
        "restart", args.words, lambda name: session.api.restart(name, timeout=timeout), session
    )


def pause(session: Session, args: Arguments) -> Done:
    return _each("pause", args.words, session.api.pause, session)


def unpause(session: Session, args: Arguments) -> Done:
    return _each("unpause", args.words, session.api.unpause, session)


def rename(session: Session, args: Arguments) -> Done:
    old, new = args.words
    with translated(session.host.url):
        session.api.rename(old, new)
    return Done(action="rename", names=(new,))


def remove(session: Session, args: Arguments) -> Done:
    def act(name: str) -> None:
        session.api.remove_container(name, v=args.on("volumes"), force=args.on("force"))

    return _each("rm", args.words, act, session)


def wait(session: Session, args: Arguments) -> Done:
    codes = []
    for name in args.words:
        # The stream's client has no time limit; a program may run for days.
        answer = next(session.streams.documents("post", "/containers/{0}/wait", name))
        codes.append(str(answer.get("StatusCode", 0)))
    return Done(action="wait", names=tuple(codes), identifiers=True)


def update(session: Session, args: Arguments) -> Done:
    """Change limits of running containers."""
    changes = resources(args)

    def act(name: str) -> None:
        answer = next(
            session.streams.documents("post_json", "/containers/{0}/update", name, data=changes)
        )
        for warning in answer.get("Warnings") or ():
            session.feedback.note(f"WARNING: {warning}")

    return _each("update", args.words, act, session)


def prune(session: Session, args: Arguments) -> Done:
    with translated(session.host.url):
        answer = session.api.prune_containers(filters=read_filters(args) or None)
    from dockerlab.commands.words import size  # noqa: PLC0415 - used by this verb only

    return Done(
        action="prune",
        names=tuple(answer.get("ContainersDeleted") or ()),
        note=f"Total reclaimed space: {size(answer.get('SpaceReclaimed', 0))}",
        identifiers=True,
    )


def _stop(session: Session, name: str, timeout: int | None) -> None:
    params = {} if timeout is None else {"t": timeout}
    # Not api.stop(): its time limit would end before a slow container does.
    for _ in session.streams.documents("post", "/containers/{0}/stop", name, params=params):
        pass


def _each(
    action: str, names: tuple[str, ...], act: Callable[[str], object], session: Session
) -> Done:
    """Do it to each; go on after a failure, and raise the first one at the end, as docker does."""
    done, failed = [], []
    for name in names:
        try:
            with translated(session.host.url):
                act(name)
            done.append(name)
        except DockerlabError as error:
            failed.append(error)
    if failed:
        for problem in failed[1:]:
            session.feedback.note(problem.message)
        raise failed[0]
    return Done(action=action, names=tuple(done))


_STOPPING = (
    number("time", "t", "Seconds to wait before killing the container"),
    number("timeout", help="The same"),
)
_UPDATABLE = frozenset(
    (
        "cpu-shares",
        "cpus",
        "cpuset-cpus",
        "memory",
        "memory-reservation",
        "memory-swap",
        "pids-limit",
        "restart",
    )
)

VERBS = (
    Verb(
        words=("create",),
        act=create,
        help="Create a new container",
        usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
        flags=CREATE_FLAGS,
        least=1,
        takes="image",
        leaves_rest=True,
        aliases=(("container", "create"),),
    ),
    Verb(
        words=("start",),
        act=start,
        help="Start one or more stopped containers",
        usage="[OPTIONS] CONTAINER [CONTAINER...]",
        flags=(
            switch("attach", "a", "Attach STDOUT/STDERR and forward signals"),
            switch("interactive", "i", "Attach container's STDIN"),
        ),
        least=1,
        takes="container",
        aliases=(("container", "start"),),
    ),
    Verb(
        words=("stop",),
        act=stop,
        help="Stop one or more running containers",
        usage="[OPTIONS] CONTAINER [CONTAINER...]",
        flags=_STOPPING,
        least=1,
        takes="container",
        aliases=(("container", "stop"),),
    ),
    Verb(
        words=("kill",),
        act=kill,
        help="Kill one or more running containers",
        usage="[OPTIONS] CONTAINER [CONTAINER...]",
        flags=(text("signal", "s", "Signal to send to the container"),),
        least=1,
        takes="container",
        aliases=(("container", "kill"),),
    ),
    Verb(
        words=("restart",),
        act=restart,
        help="Restart one or more containers",
        usage="[OPTIONS] CONTAINER [CONTAINER...]",
        flags=_STOPPING,
        least=1,
        takes="container",
        aliases=(("container", "restart"),),
    ),
    Verb(
        words=("pause",),
        act=pause,
        help="Pause all processes within one or more containers",
        usage="CONTAINER [CONTAINER...]",
        least=1,
        takes="container",
        aliases=(("container", "pause"),),
    ),
    Verb(
        words=("unpause",),
        act=unpause,
        help="Unpause all processes within one or more containers",
        usage="CONTAINER [CONTAINER...]",
        least=1,
        takes="container",
        aliases=(("container", "unpause"),),
    ),
    Verb(
        words=("rename",),
        act=rename,
        help="Rename a container",
        usage="CONTAINER NEW_NAME",
        least=2,
        most=2,
        takes="container",
        aliases=(("container", "rename"),),
    ),
    Verb(
        words=("rm",),
        act=remove,
        help="Remove one or more containers",
        usage="[OPTIONS] CONTAINER [CONTAINER...]",
        flags=(
            switch("force", "f", "Force the removal of a running container (uses SIGKILL)"),
            switch("volumes", "v", "Remove anonymous volumes associated with the container"),
        ),
        least=1,
        takes="container",
        aliases=(("container", "rm"), ("container", "remove")),
    ),
    Verb(
        words=("wait",),
        act=wait,
        help="Block until one or more containers stop, then print their exit codes",
        usage="CONTAINER [CONTAINER...]",
        least=1,
        takes="container",
        aliases=(("container", "wait"),),
    ),
    Verb(
        words=("update",),
        act=update,
        help="Update configuration of one or more containers",
        usage="[OPTIONS] CONTAINER [CONTAINER...]",
        flags=tuple(flag for flag in CREATE_FLAGS if flag.name in _UPDATABLE),
        least=1,
        takes="container",
        aliases=(("container", "update"),),
    ),
    Verb(
        words=("container", "prune"),
        act=prune,
        help="Remove all stopped containers",
        usage="[OPTIONS]",
        flags=(
            switch("force", "f", "Do not prompt for confirmation"),
            many("filter", help="Provide filter values (e.g. until=<timestamp>)"),
        ),
        most=0,
    ),
)
