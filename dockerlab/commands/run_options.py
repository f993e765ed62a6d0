"""The options of `run` and `create`, and the document they become.

Knows:   docker's flags and how each is spelled in the API's body of /containers/create.
Refuses: to ask a host; --env-file is read by the caller and passed in as lines.
Source:  docs.docker.com/reference/cli/docker/container/run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dockerlab.commands.grammar import Arguments, Flag, many, number, switch, text
from dockerlab.errors import InvalidRequest
from dockerlab.wire.ports import parse_publish
from dockerlab.wire.sizes import parse_bytes
from dockerlab.wire.times import parse_duration

CREATE_FLAGS: tuple[Flag, ...] = (
    many("add-host", help="Add a custom host-to-IP mapping (host:ip)"),
    many("cap-add", help="Add Linux capabilities"),
    many("cap-drop", help="Drop Linux capabilities"),
    text("cgroupns", help="Cgroup namespace to use (host|private)"),
    number("cpu-shares", "c", "CPU shares (relative weight)"),
    text("cpus", help="Number of CPUs", metavar="decimal"),
    text("cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)"),
    many("device", help="Add a host device to the container"),
    many("dns", help="Set custom DNS servers"),
    text("entrypoint", help="Overwrite the default ENTRYPOINT of the image"),
    many("env", "e", "Set environment variables"),
    many("env-file", help="Read in a file of environment variables"),
    many("expose", help="Expose a port or a range of ports"),
    many("group-add", help="Add additional groups to join"),
    text("health-cmd", help="Command to run to check health"),
    text("health-interval", help="Time between running the check", metavar="duration"),
    number("health-retries", help="Consecutive failures needed to report unhealthy"),
    text("health-start-period", help="Start period before retries count", metavar="duration"),
    text("health-timeout", help="Maximum time to allow one check to run", metavar="duration"),
    text("hostname", "h", "Container host name"),
    switch("init", help="Run an init inside the container that forwards signals and reaps"),
    switch("interactive", "i", "Keep STDIN open even if not attached"),
    text("ip", help="IPv4 address (e.g., 172.30.100.104)"),
    text("ipc", help="IPC mode to use"),
    many("label", "l", "Set meta data on a container"),
    text("log-driver", help="Logging driver for the container"),
    many("log-opt", help="Log driver options"),
    text("mac-address", help="Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    text("memory", "m", "Memory limit", metavar="bytes"),
    text("memory-reservation", help="Memory soft limit", metavar="bytes"),
    text("memory-swap", help="Swap limit equal to memory plus swap: '-1' is unlimited"),
    many("mount", help="Attach a filesystem mount to the container"),
    text("name", help="Assign a name to the container"),
    text("network", help="Connect a container to a network"),
    many("network-alias", help="Add network-scoped alias for the container"),
    switch("no-healthcheck", help="Disable any container-specified HEALTHCHECK"),
    switch("oom-kill-disable", help="Disable OOM Killer"),
    number("oom-score-adj", help="Tune host's OOM preferences (-1000 to 1000)"),
    text("pid", help="PID namespace to use"),
    number("pids-limit", help="Tune container pids limit (set -1 for unlimited)"),
    text("platform", help="Set platform if server is multi-platform capable"),
    switch("privileged", help="Give extended privileges to this container"),
    many("publish", "p", "Publish a container's port(s) to the host"),
    switch("publish-all", "P", "Publish all exposed ports to random ports"),
    text("pull", help="Pull image before running (always|missing|never)"),
    switch("quiet", "q", "Suppress the pull output"),
    switch("read-only", help="Mount the container's root filesystem as read only"),
    text("restart", help="Restart policy to apply when a container exits"),
    switch("rm", help="Automatically remove the container when it exits"),
    text("runtime", help="Runtime to use for this container"),
    many("security-opt", help="Security Options"),
    text("shm-size", help="Size of /dev/shm", metavar="bytes"),
    text("stop-signal", help="Signal to stop the container"),
    number("stop-timeout", help="Timeout (in seconds) to stop a container"),
    many("sysctl", help="Sysctl options"),
    many("tmpfs", help="Mount a tmpfs directory"),
    switch("tty", "t", "Allocate a pseudo-TTY"),
    many("ulimit", help="Ulimit options"),
    text("user", "u", "Username or UID (format: <name|uid>[:<group|gid>])"),
    text("userns", help="User namespace to use"),
    text("uts", help="UTS namespace to use"),
    many("volume", "v", "Bind mount a volume"),
    many("volumes-from", help="Mount volumes from the specified container(s)"),
    text("workdir", "w", "Working directory inside the container"),
)


def create_document(
    args: Arguments,
    *,
    attached: bool,
    environ: Mapping[str, str],
    env_files: Sequence[str] = (),
    working_folder: str = "/",
) -> dict[str, Any]:
    """Build the body of POST /containers/create.

    Args:
        args: what was typed; the first word is the image.
        attached: the caller will listen to the program.
        environ: the caller's own variables: `-e NAME` passes one on.
        env_files: the texts of --env-file.
        working_folder: what a relative host path in -v and --mount starts from.
    """
    image, *command = args.words
    ports, bindings = _ports(args.all("publish"), args.all("expose"))
    binds, volumes = _volumes(args.all("volume"), working_folder)
    document: dict[str, Any] = {
        "Image": image,
        "Hostname": args.text("hostname"),
        "User": args.text("user"),
        "AttachStdin": attached and args.on("interactive"),
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Tty": args.on("tty"),
        "OpenStdin": args.on("interactive"),
        "StdinOnce": attached and args.on("interactive"),
        "Env": _environment(args.all("env"), env_files, environ),
        "Cmd": command or None,
        "WorkingDir": args.text("workdir"),
        "Labels": dict(_pair(item) for item in args.all("label")),
        "ExposedPorts": {port: {} for port in ports},
        "Volumes": {path: {} for path in volumes},
        "HostConfig": _host_config(args, binds, bindings, working_folder),
    }
    if args.given("entrypoint"):
        document["Entrypoint"] = [args.text("entrypoint")] if args.text("entrypoint") else [""]
    for flag, key in (("stop-signal", "StopSignal"), ("mac-address", "MacAddress")):
        if args.given(flag):
            document[key] = args.text(flag)
    if args.given("stop-timeout"):
        document["StopTimeout"] = args.number("stop-timeout")
    health = _health(args)
    if health:
        document["Healthcheck"] = health
    network = args.text("network")
    if network and (args.all("network-alias") or args.given("ip")):
        endpoint: dict[str, Any] = {"Aliases": list(args.all("network-alias"))}
        if args.given("ip"):
            endpoint["IPAMConfig"] = {"IPv4Address": args.text("ip")}
        document["NetworkingConfig"] = {"EndpointsConfig": {network: endpoint}}
    return document


_TEXTS = (
    ("cpuset-cpus", "CpusetCpus"),
    ("cgroupns", "CgroupnsMode"),
    ("ipc", "IpcMode"),
    ("pid", "PidMode"),
    ("userns", "UsernsMode"),
    ("uts", "UTSMode"),
    ("runtime", "Runtime"),
)
_NUMBERS = (
    ("cpu-shares", "CpuShares"),
    ("oom-score-adj", "OomScoreAdj"),
    ("pids-limit", "PidsLimit"),
)
_SIZES = (
    ("memory", "Memory"),
    ("memory-reservation", "MemoryReservation"),
    ("memory-swap", "MemorySwap"),
    ("shm-size", "ShmSize"),
)
_SWITCHES = (
    ("init", "Init"),
    ("privileged", "Privileged"),
    ("publish-all", "PublishAllPorts"),
    ("read-only", "ReadonlyRootfs"),
    ("rm", "AutoRemove"),
    ("oom-kill-disable", "OomKillDisable"),
)
_LISTS = (
    ("add-host", "ExtraHosts"),
    ("cap-add", "CapAdd"),
    ("cap-drop", "CapDrop"),
    ("dns", "Dns"),
    ("group-add", "GroupAdd"),
    ("security-opt", "SecurityOpt"),
    ("volumes-from", "VolumesFrom"),
)


def resources(args: Arguments) -> dict[str, Any]:
    """The limits among the options; `update` has the same."""
    found: dict[str, Any] = {}
    for flag, key in _SIZES:
        if args.given(flag):
            value = args.text(flag)
            found[key] = -1 if value == "-1" else parse_bytes(value)
    for flag, key in _NUMBERS:
        if args.given(flag):
            found[key] = args.number(flag)
    if args.given("cpus"):
        found["NanoCpus"] = _nano_cpus(args.text("cpus"))
    if args.given("restart"):
        found["RestartPolicy"] = _restart(args.text("restart"))
    if args.given("cpuset-cpus"):
        found["CpusetCpus"] = args.text("cpuset-cpus")
    return found


def _host_config(
    args: Arguments, binds: list[str], bindings: dict[str, Any], working_folder: str
) -> dict[str, Any]:
    host: dict[str, Any] = {
        "Binds": binds,
        "PortBindings": bindings,
        "NetworkMode": args.text("network", "default"),
        **resources(args),
    }
    for flag, key in _TEXTS:
        if args.given(flag):
            host[key] = args.text(flag)
    for flag, key in _SWITCHES:
        if args.given(flag):
            host[key] = args.on(flag)
    for flag, key in _LISTS:
        if args.given(flag):
            host[key] = list(args.all(flag))
    host.update(_host_tables(args, working_folder))
    return host


def _host_tables(args: Arguments, working_folder: str) -> dict[str, Any]:
    """The options whose values have a grammar of their own."""
    host: dict[str, Any] = {}
    if args.given("sysctl"):
        host["Sysctls"] = dict(_pair(item) for item in args.all("sysctl"))
    if args.given("tmpfs"):
        host["Tmpfs"] = {
            path: options
            for path, _, options in (item.partition(":") for item in args.all("tmpfs"))
        }
    if args.given("ulimit"):
        host["Ulimits"] = [_ulimit(item) for item in args.all("ulimit")]
    if args.given("device"):
        host["Devices"] = [_device(item) for item in args.all("device")]
    if args.given("log-driver") or args.given("log-opt"):
        host["LogConfig"] = {
            "Type": args.text("log-driver"),
            "Config": dict(_pair(item) for item in args.all("log-opt")),
        }
    if args.given("mount"):
        host["Mounts"] = [_mount(item, working_folder) for item in args.all("mount")]
    return host


def _environment(
    given: Sequence[str], files: Sequence[str], environ: Mapping[str, str]
) -> list[str]:
    lines = [
        line.strip()
        for content in files
        for line in content.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    found = []
    for item in (*lines, *given):
        if "=" in item:
            found.append(item)
        elif item in environ:
            found.append(f"{item}={environ[item]}")
    return found


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def _nano_cpus(text: str) -> int:
    try:
        return round(float(text) * 1_000_000_000)
    except ValueError:
        raise InvalidRequest(
            f'invalid argument "{text}" for "--cpus" flag: failed to parse {text} as a rational '
            "number",
            hint="For example 0.5 or 2",
        ) from None


def _restart(text: str) -> dict[str, Any]:
    name, _, count = text.partition(":")
    if count and not count.isdigit():
        raise InvalidRequest(
            "maximum retry count must be an integer", hint="For example --restart on-failure:3"
        )
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _ulimit(text: str) -> dict[str, Any]:
    match = re.fullmatch(r"([a-z]+)=(-?\d+)(?::(-?\d+))?", text)
    if match is None:
        raise InvalidRequest(f"invalid ulimit argument: {text}", hint="NAME=SOFT[:HARD]")
    return {"Name": match[1], "Soft": int(match[2]), "Hard": int(match[3] or match[2])}


def _device(text: str) -> dict[str, str]:
    source, _, rest = text.partition(":")
    target, _, permissions = rest.partition(":")
    if target and "/" not in target:
        target, permissions = "", target
    return {
        "PathOnHost": source,
        "PathInContainer": target or source,
        "CgroupPermissions": permissions or "rwm",
    }


def _health(args: Arguments) -> dict[str, Any]:
    if args.on("no-healthcheck"):
        return {"Test": ["NONE"]}
    health: dict[str, Any] = {}
    if args.given("health-cmd"):
        health["Test"] = ["CMD-SHELL", args.text("health-cmd")]
    for flag, key in (("interval", "Interval"), ("timeout", "Timeout")):
        if args.given(f"health-{flag}"):
            health[key] = parse_duration(args.text(f"health-{flag}"))
    if args.given("health-start-period"):
        health["StartPeriod"] = parse_duration(args.text("health-start-period"))
    if args.given("health-retries"):
        health["Retries"] = args.number("health-retries")
    return health


def _ports(
    publish: Sequence[str], expose: Sequence[str]
) -> tuple[list[str], dict[str, list[dict[str, str]]]]:
    published = parse_publish(publish)
    bindings = {
        port: [{"HostIp": one.host_ip, "HostPort": one.host_port} for one in places]
        for port, places in published.items()
    }
    exposed = [port for item in expose for port in parse_publish([item])]
    return [*published, *exposed], bindings


def _volumes(items: Sequence[str], working_folder: str) -> tuple[list[str], list[str]]:
    binds, anonymous = [], []
    for item in items:
        source, colon, rest = item.partition(":")
        if not colon:
            anonymous.append(item)
        elif source.startswith(("./", "../", "~")) or source in {".", ".."}:
            binds.append(f"{_resolved(source, working_folder)}:{rest}")
        else:
            binds.append(item)
    return binds, anonymous


def _resolved(path: str, working_folder: str) -> str:
    parts: list[str] = []
    for part in f"{working_folder}/{path}".split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _mount(text: str, working_folder: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"Type": "volume"}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        match key.lower():
            case "type":
                mount["Type"] = value
            case "source" | "src":
                relative = value.startswith(".")
                mount["Source"] = _resolved(value, working_folder) if relative else value
            case "target" | "dst" | "destination":
                mount["Target"] = value
            case "readonly" | "ro":
                mount["ReadOnly"] = not equals or value in {"true", "1"}
            case "bind-propagation":
                mount["BindOptions"] = {"Propagation": value}
            case "volume-nocopy":
                mount["VolumeOptions"] = {"NoCopy": not equals or value == "true"}
            case "tmpfs-size":
                mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_bytes(value)
            case "tmpfs-mode":
                mount.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
            case _:
                raise InvalidRequest(
                    f"unexpected key '{key}' in '{field}'",
                    hint="For example type=bind,source=/data,target=/data,readonly",
                )
    return mount
