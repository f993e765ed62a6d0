"""`docker run` and what follows it, by every docker CLI on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_CLIENTS = ("/usr/local/bin/docker", "/usr/bin/docker")


def _installed() -> list[str]:
    found = [path for path in _CLIENTS if Path(path).exists()]
    elsewhere = shutil.which("docker")
    return found or ([elsewhere] if elsewhere else [])


@dataclass(frozen=True)
class Cli:
    """One docker CLI against one host."""

    program: str
    environment: dict[str, str]

    def __call__(
        self, *words: str, stdin: str | None = None, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done

    def popen(self, *words: str, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen([self.program, *words], env=self.environment, text=True, **options)


@pytest.fixture(scope="session", params=_installed() or [None])
def cli(request: pytest.FixtureRequest, host: str, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Each docker CLI on this machine."""
    if request.param is None:
        pytest.skip("no docker CLI on this machine (Debian: apt-get install docker.io)")
    config = tmp_path_factory.mktemp("docker-config")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(config),
        "DOCKER_HOST": host,
        "DOCKER_CONFIG": str(config),
        "DOCKER_BUILDKIT": "0",
    }
    return Cli(request.param, environment)


@pytest.fixture
def named(cli: Cli) -> Iterator[Callable[[str], str]]:
    """Make names for containers, and remove those containers in the end."""
    made: list[str] = []

    def name(word: str) -> str:
        made.append(f"t{os.getpid()}-{word}")
        return made[-1]

    yield name
    if made:
        cli("rm", "-f", "-v", *made, code=None)


def test_both_streams_and_the_exit_code_arrive(cli, starter):
    done = cli("run", "--rm", starter, "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_stdin_goes_in_until_its_end(cli, starter):
    assert cli("run", "--rm", "-i", starter, "cat", stdin="a\nb\n").stdout == "a\nb\n"


def test_a_terminal_is_one(cli, starter):
    done = cli("run", "--rm", "-t", starter, "sh", "-c", "test -t 1 && stty size 2>&1 || echo no")
    assert "no" not in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuchprogram"], 127, 'exec: "nosuchprogram": executable file not found in $PATH'),
        (["/etc"], 126, "permission denied|is a directory"),
        (["/etc/passwd"], 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_programs_that_cannot_run(cli, starter, words, code, said):
    done = cli("run", "--rm", starter, *words, code=code)
    assert re.search(said.replace("$", r"\$"), done.stderr)


def test_a_start_that_fails_leaves_a_created_container(cli, starter, named):
    name = named("nosuch")
    cli("run", "--name", name, starter, "nosuch", code=127)
    state = json.loads(cli("inspect", name).stdout)[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 127)


def test_flags_reach_the_program(cli, starter, tmp_path, named):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("mounted\n")
    done = cli(
        "run", "--rm", "--name", named("flags"), "-e", "A=1", "-w", "/tmp/work", "-u", "1000:1000",
        "-v", f"{tmp_path}:/data:ro", "-h", "box", starter,
        "sh", "-c",
        "echo $A; pwd; id -u; id -g; cat /data/file; hostname; touch /data/x || echo ro",
    )  # fmt: skip
    assert done.stdout.split() == ["1", "/tmp/work", "1000", "1000", "mounted", "box", "ro"]


def test_the_default_isolation(cli, starter):
    done = cli(
        "run", "--rm", starter, "sh", "-c",
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; echo $$; "
        "cat /proc/kcore | wc -c; echo 1 > /proc/sys/kernel/hostname || echo frozen",
    )  # fmt: skip
    facts = dict(line.split(":\t") for line in done.stdout.splitlines() if ":\t" in line)
    assert facts["CapEff"] == facts["CapBnd"] == facts["CapPrm"] == "00000000a80425fb"
    assert facts["CapInh"] == facts["CapAmb"] == "0000000000000000"
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("0", "2")
    assert done.stdout.splitlines()[-3:] == ["1", "0", "frozen"]


def test_ipv6_is_off_where_no_network_has_it(cli, starter):
    if not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("this kernel has no IPv6")
    facts = "cat /proc/sys/net/ipv6/conf/*/disable_ipv6"
    assert set(cli("run", "--rm", starter, "sh", "-c", facts).stdout.split()) == {"1"}
    own = ("--sysctl", "net.ipv6.conf.all.disable_ipv6=0")
    assert "0" in cli("run", "--rm", *own, starter, "sh", "-c", facts).stdout.split()


def test_another_user_has_no_capabilities(cli, starter):
    done = cli("run", "--rm", "-u", "1000", starter, "grep", "Cap", "/proc/self/status")
    facts = dict(line.split(":\t") for line in done.stdout.splitlines())
    assert facts["CapEff"] == facts["CapPrm"] == "0000000000000000"
    assert facts["CapBnd"] == "00000000a80425fb"


def test_limits_are_in_inspect_and_in_the_kernel(cli, starter, named):
    name = named("limits")
    cli(
        "run", "-d", "--name", name, "-m", "64m", "--cpus", "0.5", "--pids-limit", "50",
        starter, "sleep", "60",
    )  # fmt: skip
    host = json.loads(cli("inspect", name).stdout)[0]["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 5 * 10**8, 50)
    shown = cli("stats", "--no-stream", "--format", "{{.MemUsage}}", name).stdout
    assert "64MiB" in shown


def test_memory_beyond_the_limit_is_an_oom_kill(cli, starter, named):
    name = named("oom")
    cli(
        "run", "--name", name, "-m", "16m", starter,
        "sh", "-c", "head -c 200000000 /dev/zero | tail", code=None,
    )  # fmt: skip
    state = json.loads(cli("inspect", name).stdout)[0]["State"]
    assert state["OOMKilled"] or state["ExitCode"] == 137


def test_shared_memory_is_shared_only_with_leave(cli, starter, named):
    donor, alone = named("donor"), named("alone")
    cli("run", "-d", "--name", donor, "--ipc", "shareable", starter, "sleep", "60")
    cli("exec", donor, "sh", "-c", "echo hey > /dev/shm/note")
    joined = ("run", "--rm", "--ipc", f"container:{donor}", starter)
    assert cli(*joined, "cat", "/dev/shm/note").stdout == "hey\n"
    cli("run", "-d", "--name", alone, starter, "sleep", "60")
    done = cli("run", "--rm", "--ipc", f"container:{alone}", starter, "true", code=125)
    assert "non-shareable IPC" in done.stderr


def test_a_link_is_a_name_and_variables(cli, starter, named):
    web = named("linked")
    cli("run", "-d", "--name", web, "--expose", "80", "-e", "A=1", starter, "sleep", "60")
    done = cli("run", "--rm", "--link", f"{web}:web", starter, "sh", "-c", "cat /etc/hosts; env")
    assert re.search(rf"\tweb [0-9a-f]{{12}} {web}\n", done.stdout)
    assert re.search(r"WEB_PORT_80_TCP=tcp://[\d.]+:80\n", done.stdout)
    assert "WEB_ENV_A=1" in done.stdout


def test_a_published_port_answers_on_the_host(cli, starter, named):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    name = named("port")
    script = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nserved'; sleep 9; done"
    cli("run", "-d", "--name", name, "-p", f"127.0.0.1:{port}:80", starter, "sh", "-c", script)
    assert cli("port", name, "80").stdout.strip() == f"127.0.0.1:{port}"
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    clash = cli("run", "--rm", "-p", f"127.0.0.1:{port}:80", starter, "true", code=125)
    assert "port is already allocated" in clash.stderr


def test_logs_follow_until_the_end(cli, starter, named):
    name = named("logs")
    cli("run", "-d", "--name", name, starter, "sh", "-c", "echo a; echo b")
    follower = cli.popen("logs", "-f", name, stdout=-1)
    cli("wait", name)
    assert follower.communicate(timeout=20)[0] == "a\nb\n"
    assert cli("logs", "--tail", "1", name).stdout == "b\n"
    assert re.match(r"\d{4}-\d\d-\d\dT.*Z a\n", cli("logs", "-t", name).stdout)


def test_logs_tell_details_and_what_they_can_not_read(cli, starter, named):
    kept, dropped = named("details"), named("unread")
    cli("run", "--name", kept, "--log-opt", "env=A", "-e", "A=x y", starter, "echo", "said")
    assert cli("logs", "--details", kept).stdout == "A=x+y said\n"
    cli("run", "--name", dropped, "--log-driver", "none", starter, "true")
    refused = cli("logs", dropped, code=1).stderr
    assert "configured logging driver does not support reading" in refused


def test_execs_are_listed_while_they_run(cli, starter, named):
    name = named("listed")
    cli("run", "-d", "--name", name, starter, "sleep", "60")
    listed = ("inspect", "-f", "{{len .ExecIDs}}", name)
    cli("exec", name, "true")
    assert cli(*listed).stdout == "0\n"
    cli("exec", "-d", name, "sleep", "60")
    assert cli(*listed).stdout == "1\n"
    assert cli("exec", "-u", "nobody-here", name, "true", code=126).stdout.startswith("unable to")


def test_exec_runs_beside(cli, starter, named):
    name = named("exec")
    cli("run", "-d", "--name", name, "-e", "A=own", starter, "sleep", "60")
    done = cli("exec", "-e", "B=2", name, "sh", "-c", "echo $A $B; echo $0 >&2; exit 4", code=4)
    assert (done.stdout, done.stderr) == ("own 2\n", "sh\n")
    assert cli("exec", "-i", name, "cat", stdin="through\n").stdout == "through\n"
    assert "executable file not found" in (
        (missing := cli("exec", name, "nosuch", code=127)).stdout + missing.stderr
    )
    cli("stop", "-t", "0", name)
    assert "is not running" in cli("exec", name, "true", code=1).stderr


def test_stop_kill_start_restart_rm(cli, starter, named):
    name = named("life")

    def status() -> str:
        return cli("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name).stdout.strip()

    cli("run", "-d", "--name", name, starter, "sleep", "60")
    assert "container is running" in cli("rm", name, code=1).stderr
    cli("stop", "-t", "1", name)
    assert status() in {"exited 137", "exited 143"}
    cli("start", name)
    assert status() == "running 0"
    cli("restart", "-t", "0", name)
    assert status() == "running 0"
    cli("pause", name)
    assert status() == "paused 0"
    cli("unpause", name)
    cli("kill", name)
    assert status() == "exited 137"
    cli("rm", name)
    assert "No such" in cli("inspect", name, code=1).stderr


def test_a_name_is_taken_once(cli, starter, named):
    name = named("taken")
    cli("create", "--name", name, starter)
    clash = cli("create", "--name", name, starter, code=1)
    assert f'The container name "/{name}" is already in use by container' in clash.stderr


def test_rm_frees_the_name_at_once(cli, starter, named):
    name = named("again")
    for _ in range(3):
        cli("run", "--rm", "--name", name, starter, "true")


def test_ps_shows_what_runs_and_what_ran(cli, starter, named):
    runs, ran = named("runs"), named("ran")
    cli("run", "-d", "--name", runs, "--label", "lab=1", starter, "sleep", "60")
    cli("run", "--name", ran, "--label", "lab=1", starter, "true")
    shown = "{{.Names}} {{.State}}"
    assert cli("ps", "--filter", f"name={runs}", "--format", shown).stdout == f"{runs} running\n"
    everything = cli("ps", "-a", "--filter", "label=lab=1", "--format", shown).stdout.split("\n")
    assert {f"{runs} running", f"{ran} exited"} <= set(everything)


def test_signals_of_the_cli_reach_the_program(cli, starter, named):
    name = named("signals")
    script = "trap 'echo caught; exit 5' INT; echo ready; while true; do sleep 0.05; done"
    process = cli.popen("run", "--name", name, starter, "sh", "-c", script, stdout=-1)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "caught\n"
    assert process.returncode == 5


def test_events_come_in_dockers_order(cli, starter, named):
    name = named("events")
    stream = cli.popen(
        "events", "--filter", f"container={name}", "--format", "{{.Action}}", stdout=-1
    )
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(_until(stream, "destroy")))
    reader.start()
    _listening(cli)
    cli("run", "--rm", "--name", name, starter, "true")
    reader.join(20)
    stream.terminate()
    stream.communicate()
    assert [one for one in seen if one != "attach"] == ["create", "start", "die", "destroy"]


def test_execs_top_and_prunes_tell_of_themselves(cli, starter, named):
    name = named("tells")
    since = str(int(time.time()))
    cli("run", "-d", "--name", name, "--label", f"only={name}", starter, "sleep", "60")
    cli("exec", name, "true")
    cli("exec", name, "nosuch", code=127)
    cli("top", name)
    cli("rm", "-f", name)
    cli("container", "prune", "-f", "--filter", f"label=only={name}")
    ending = ("--since", since, "--until", str(int(time.time()) + 1), "--format", "{{.Action}}")
    seen = cli("events", "--filter", f"container={name}", *ending).stdout.splitlines()
    told = [one for one in seen if one.startswith(("exec_", "top"))]
    assert told == [
        "exec_create: true ", "exec_start: true ", "exec_die",
        "exec_create: nosuch ", "exec_start: nosuch ", "top",
    ]  # fmt: skip
    assert "prune" in cli("events", "--filter", "event=prune", *ending).stdout


def _until(stream, last: str):
    for line in stream.stdout:
        yield line.strip()
        if line.strip() == last:
            return


def _listening(cli) -> None:
    """Wait until the engine has a listener for events; asked of the engine itself."""
    address = cli.environment["DOCKER_HOST"].removeprefix("unix://")
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(b"GET /info HTTP/1.0\r\n\r\n")
            body = b""
            while piece := connection.recv(65536):
                body += piece
        if json.loads(body.partition(b"\r\n\r\n")[2])["NEventsListener"] > 0:
            return
    pytest.fail("nobody listens for events")


def test_diff_top_and_cp_free_reads(cli, starter, named):
    name = named("reads")
    cli("run", "-d", "--name", name, starter, "sh", "-c", "echo x > /tmp/new; exec sleep 60")
    cli("exec", name, "sh", "-c", "while ! test -s /tmp/new; do :; done")
    assert "A /tmp/new" in cli("diff", name).stdout.splitlines()
    assert "sleep 60" in cli("top", name).stdout


def test_a_network_of_ones_own_reaches_the_other_container(cli, starter, named):
    web = named("web")
    cli("run", "-d", "--name", web, starter, "sleep", "60")
    address = cli("inspect", "-f", "{{.NetworkSettings.IPAddress}}", web).stdout.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", address)
    done = cli("run", "--rm", starter, "sh", "-c", "cat /etc/hosts /etc/resolv.conf")
    assert "localhost" in done.stdout
    alone = cli("run", "--rm", "--network", "none", starter, "sh", "-c", "ls /sys/class/net")
    assert alone.stdout.split() == ["lo"]


def test_the_http_answer_of_a_container_comes_through(cli, starter, named):
    """A whole exchange through a published port, answered by a program of the starter image."""
    name = named("http")
    serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=80)"
    if cli("run", "--rm", starter, "python3", "-c", "print()", code=None).returncode != 0:
        pytest.skip("the starter image of this host has no python3")
    cli("run", "-d", "--name", name, "-p", "127.0.0.1::80", starter, "python3", "-c", serve)
    address = cli("port", name, "80").stdout.strip()
    with urllib.request.urlopen(f"http://{address}/", timeout=20) as answer:
        assert answer.status == 200
