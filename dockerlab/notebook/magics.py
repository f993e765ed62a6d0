"""The magics: `%docker VERB ...`, `%%container IMAGE`, `%%dockerfile -t NAME`.

Knows:   a line becomes one verb, and the verb's result an object that shows itself.
Refuses: to print results, to know engines, and to branch on hosts.
"""

from __future__ import annotations

import io
import os
from typing import Any

import traitlets
from IPython.core.magic import (
    Magics,
    cell_magic,
    line_cell_magic,
    magics_class,
    no_var_expand,
)

from dockerlab.commands import grammar
from dockerlab.commands.grammar import Arguments, Verb, text
from dockerlab.commands.hosts import Choice, Host, choose
from dockerlab.commands.results import Ran, Watch
from dockerlab.commands.session import Session
from dockerlab.errors import DockerlabError, InvalidRequest, NotFound, Unavailable
from dockerlab.notebook.arguments import NOTEBOOK_FLAGS, words
from dockerlab.notebook.errors import ProgramFailed, readable
from dockerlab.notebook.live import Live


@magics_class
class DockerMagics(Magics):  # type: ignore[misc, unused-ignore] # IPython has no types
    """Docker in a notebook; `%config DockerMagics` shows what can be set."""

    widgets = traitlets.Bool(
        True, help="Show live widgets; without them results are tables and pictures."
    ).tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._shell = shell
        self._named = ""
        self._host: Host | None = None

    @property
    def connected(self) -> Host | None:
        """The host in use, if a command has used one."""
        return self._host

    def welcome(self) -> None:
        """Say which host it is and why; our own engine starts meanwhile."""
        try:
            host = self._current()
        except DockerlabError as error:
            Live(rich_output=False).note(f"dockerlab: {error.message}. {error.hint}")
            return
        host.prepare()
        Live(rich_output=False).note(f"dockerlab: {host.choice}")

    def close(self) -> None:
        """Let go of the host; what runs there goes on."""
        if self._host is not None:
            self._host.forget()

    @no_var_expand  # type: ignore[untyped-decorator, unused-ignore]
    @line_cell_magic  # type: ignore[untyped-decorator, unused-ignore]
    @readable
    def docker(self, line: str, cell: str | None = None) -> Any:
        """Docker's own commands: %docker ps -a. See %docker --help, %docker run --help."""
        from dockerlab.commands import catalogue  # noqa: PLC0415 - 60 ms, at first use

        typed = words(line, self._shell.user_ns)
        if not typed or typed[0] in {"--help", "-h", "help"}:
            return Text(catalogue.overview("%docker") + "\n" + _OURS)
        if typed[0] == "host":
            return self._choose(typed[1:])
        verb, rest = catalogue.find(typed)
        verb = verb.with_flags(*NOTEBOOK_FLAGS)
        if ("--help" in rest and not verb.leaves_rest) or rest[:1] == ["--help"]:
            return Text(grammar.usage(verb, "%docker"))
        args = grammar.parse(verb, rest)
        return self._act(verb, args, cell)

    @no_var_expand  # type: ignore[untyped-decorator, unused-ignore]
    @cell_magic  # type: ignore[untyped-decorator, unused-ignore]
    @readable
    def container(self, line: str, cell: str) -> Any:
        """Run the cell as a script in a new container: %%container alpine."""
        from dockerlab.notebook import container_cell  # noqa: PLC0415 - at first use

        typed = words(line, self._shell.user_ns)
        verb = container_cell.verb()
        if not typed or "--help" in typed:
            return Text(grammar.usage(verb, "%%").replace("%% ", "%%"))
        args = grammar.parse(verb, typed)
        program = container_cell.program(args, cell, self._shell.user_ns)
        stdin = None if program.stdin is None else io.BytesIO(program.stdin)
        with self._session(args, stdin) as session:
            ran = container_cell.run(session, program, args)
        if not ran.exit_code or args.on("no-raise-error"):
            self._shell.user_ns.update(container_cell.outcome(ran, args))
        return self._ended(ran, args)

    @no_var_expand  # type: ignore[untyped-decorator, unused-ignore]
    @cell_magic  # type: ignore[untyped-decorator, unused-ignore]
    @readable
    def dockerfile(self, line: str, cell: str) -> Any:
        """Build the cell as a Dockerfile: %%dockerfile -t NAME."""
        from dockerlab.commands.builds import build_text  # noqa: PLC0415 - at first use

        typed = words(line, self._shell.user_ns)
        verb = _dockerfile_verb()
        if "--help" in typed:
            return Text(grammar.usage(verb, "%%").replace("%% ", "%%"))
        args = grammar.parse(verb, typed)
        context = args.text("context")
        if context and not os.path.isdir(context):  # noqa: PTH112 - as typed
            raise NotFound(
                f'unable to prepare context: path "{context}" not found',
                hint="Name a folder that is there; without one the context is empty",
            )
        with self._session(args) as session:
            built = build_text(session, cell, context, args)
        return self._view(built)

    def _act(self, verb: Verb, args: Arguments, cell: str | None) -> Any:
        stdin = None if cell is None else io.BytesIO(cell.encode())
        with self._session(args, stdin) as session:
            result = verb.act(session, args)
        if isinstance(result, Ran):
            return self._ended(result, args)
        if isinstance(result, Watch):
            return self._watched(session, result)
        return self._view(result)

    def _session(self, args: Arguments, stdin: io.BytesIO | None = None) -> _Use:
        return _Use(
            self._current(),
            Live(
                rich_output=self._has_page(),
                quiet=args.given("out") or (args.on("quiet") and not args.given("err")),
                silent=args.given("output"),
            ),
            stdin,
        )

    def _current(self) -> Host:
        if self._host is None:
            self._host = Host(choose(self._named))
        return self._host

    def _choose(self, names: list[str]) -> Any:
        if len(names) > 1:
            raise InvalidRequest('"docker host" requires at most 1 argument.')
        if names:
            self.close()
            self._named = "" if names[0] == "default" else names[0]
            self._host = Host(choose(self._named))
        choice: Choice = self._current().choice
        self._current().api  # noqa: B018 - asks now: a host that is gone is named here
        return Text(str(Choice(kind=choice.kind, url=self._current().url, why=choice.why)))

    def _ended(self, ran: Ran, args: Arguments) -> Any:
        for flag, data in (("out", ran.stdout), ("err", ran.stderr)):
            if args.given(flag):
                self._shell.user_ns[args.text(flag)] = data.decode("utf-8", "replace")
        if ran.exit_code and not args.on("no-raise-error"):
            raise ProgramFailed(ran)
        return self._view(ran)

    def _watched(self, session: Session, request: Watch) -> Any:
        from dockerlab.notebook.stats import StatsView  # noqa: PLC0415 - at first use

        found = StatsView(session, request, widgets=self._show_widgets())
        found.start()
        if request.duration_s is not None or not self._show_widgets():
            # Somebody reads a saved notebook, or has no widgets: the cell stays till the end.
            if self._has_page():
                found.show()  # in a terminal it shows once, at its end
            try:
                found.wait()
            except KeyboardInterrupt:
                found.stop()
        return found

    def _view(self, result: Any) -> Any:
        from dockerlab.notebook.display import view  # noqa: PLC0415 - at first use

        return view(result, widgets=self._show_widgets())

    def _has_page(self) -> bool:
        """There is a notebook to draw in, not a terminal."""
        return getattr(self._shell, "kernel", None) is not None

    def _show_widgets(self) -> bool:
        return self.widgets and self._has_page() and not os.environ.get("DOCKERLAB_STATIC")


class Text:
    """Text that shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class _Use:
    """One command on a host: progress is drawn to its end, and a dead host forgotten."""

    def __init__(self, host: Host, live: Live, stdin: Any) -> None:
        self._host, self._live = host, live
        self._session = Session(host, live, stdin)

    def __enter__(self) -> Session:
        return self._session

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._live.finish()
        if isinstance(error, Unavailable):
            self._host.forget()  # the next command connects anew, and starts our engine again
            if self._host.choice.kind == "own" and error.message.startswith("Cannot connect"):
                error.hint = (
                    "Our engine ended: run the cell again, it comes back with its containers"
                )


def _dockerfile_verb() -> Verb:
    from dockerlab.commands import catalogue  # noqa: PLC0415 - 60 ms, at first use

    build, _ = catalogue.find(["build"])
    return Verb(
        words=("dockerfile",),
        act=build.act,
        help="Build the cell as a Dockerfile",
        usage="[OPTIONS]",
        flags=(
            text("context", "f", "Folder whose files COPY can see; none when left out"),
            *(flag for flag in build.flags if flag.name != "file"),
        ),
        most=0,
    )


_OURS = """
In notebooks:
  %docker host [NAME]          which host is used and why; choose one: a URL, a context, dockerlab
  %%container IMAGE            run the cell as a script in a container
  %%dockerfile -t NAME         build the cell
  {name} on a line             is the value of the Python variable
"""
