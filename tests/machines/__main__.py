"""Boot a Debian kernel with pure cgroup v2 in qemu and run tests in it.

    python -m tests.machines [pytest arguments]

The guest sees this machine's whole disk read-only, under a layer in memory, so checkout and
environment are the same. It has no network. Without arguments: everything the kernel decides
(tests/kernel) and containers of the runtime; then the cgroup tests again, from inside a group that
is not the root of the tree. Missing packages are installed by apt-get; the kernel stays in the
cache.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dockerlab-machines"
TIMEOUT_S = int(os.environ.get("DOCKERLAB_MACHINE_TIMEOUT", "900"))
# What the kernel decides; property tests and their deadlines are for quick machines.
DEFAULT = (
    "tests/kernel", "tests/engine/runtime/test_start.py", "tests/engine/runtime/test_exec.py",
    "tests/engine/runtime/test_hostile.py", "tests/engine/runtime/test_survival.py",
)  # fmt: skip
# Times are for real processors.
SLOW = "tests/kernel/test_net_traffic.py::test_a_container_costs_the_kernel_little"
EXIT_MARK = "MACHINE-EXIT"
ACCELERATION = os.environ.get("DOCKERLAB_MACHINE_ACCELERATION", "kvm tcg")
MODULES = (
    "virtio_pci", "9pnet_virtio", "9p", "overlay", "crc32c_generic", "veth", "bridge",
    "br_netfilter", "nf_tables", "nf_conntrack_netlink", "tun", "fuse",
)  # fmt: skip

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module || echo "insmod $module failed"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /lower
mount -t tmpfs -o mode=755 up /up; mkdir /up/u /up/w
mount -t overlay -o lowerdir=/lower,upperdir=/up/u,workdir=/up/w new /new
mount -t proc proc /new/proc; mount -t sysfs sysfs /new/sys; mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts -o ptmxmode=666 pts /new/dev/pts; mount -t tmpfs shm /new/dev/shm
mount -t tmpfs run /new/run; mount -t tmpfs -o size=1g tmp /new/tmp
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t securityfs security /new/sys/kernel/security
ifconfig lo 127.0.0.1 up
cp /run.sh /new/run/run.sh
exec switch_root /new /bin/sh /run/run.sh
"""

# The layer in memory is no upper directory for another overlay, but a tmpfs is.
RUN = """cd {root}
export PATH={cache}/apparmor/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/tmp TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1 TERM=dumb COLUMNS=100
export DOCKERLAB_ROOT=/tmp/dockerlab DOCKERLAB_RUN=/run/dockerlab
code=0
echo; echo "== $(uname -r), control groups: $(cat /sys/fs/cgroup/cgroup.controllers)"
{python} -m pytest -v --timeout 300 -p no:cacheprovider {arguments} || code=$?
if [ -n "{again}" ]; then
  echo "== again, from inside a group"
  mkdir /sys/fs/cgroup/session /sys/fs/cgroup/session/born
  echo $$ > /sys/fs/cgroup/session/born/cgroup.procs
  {python} -m pytest -v --timeout 300 -p no:cacheprovider {again} || code=$?
fi
echo "{mark} $code"
sync; echo o > /proc/sysrq-trigger
while :; do :; done
"""


def main(arguments: list[str]) -> int:
    """Boot, show what the guest prints, return pytest's exit code."""
    for program, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
    ):
        if not shutil.which(program):
            subprocess.run(["apt-get", "install", "-y", "-q", package], check=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    kernel, modules = fetch_kernel()
    unpack("apparmor")
    groups = "tests/kernel/test_cgroups.py"
    again = groups if not arguments or groups in arguments else ""
    script = RUN.format(
        root=shlex.quote(str(ROOT)), python=shlex.quote(str(ROOT / ".venv/bin/python")),
        arguments=shlex.join(arguments or [*DEFAULT, "--deselect", SLOW]),
        again=again, mark=EXIT_MARK, cache=shlex.quote(str(CACHE)),
    )  # fmt: skip
    initrd = CACHE / f"initrd-{os.getpid()}.gz"
    try:
        initrd.write_bytes(gzip.compress(initial_tree(modules, script), 1))
        return run(kernel, initrd)
    finally:
        initrd.unlink(missing_ok=True)


def fetch_kernel() -> tuple[Path, dict[str, Path]]:
    """The newest kernel of this Debian: its image, and its modules by name."""
    depends = subprocess.run(
        ["apt-cache", "depends", "linux-image-amd64"], check=True, capture_output=True, text=True
    ).stdout
    package = re.findall(r"Depends: (linux-image-\S+)", depends)[0]
    # The cloud kernel has no 9p, so it is the full one.
    folder = unpack(package)
    (kernel,) = (folder / "boot").glob("vmlinuz-*")
    return kernel, {
        module.name.split(".")[0].replace("-", "_"): module for module in folder.rglob("*.ko*")
    }


def unpack(package: str) -> Path:
    """A package's files in the cache; it is not installed."""
    folder = CACHE / package
    if not folder.exists():
        subprocess.run(["apt-get", "download", package], check=True, cwd=CACHE)
        half = CACHE / f"{package}.half-{os.getpid()}"
        for archive in CACHE.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg", "-x", archive, half], check=True)
            archive.unlink()
        half.rename(folder)
    return folder


def in_order(modules: dict[str, Path]) -> list[Path]:
    """The modules we want, each after those it depends on; built-in ones have no file."""
    ordered: list[str] = []

    def add(name: str) -> None:
        if name in ordered or name not in modules:
            return
        found = re.search(rb"\0depends=([^\0]*)\0", modules[name].read_bytes())
        for other in found[1].decode().split(",") if found else []:
            add(other.replace("-", "_"))
        ordered.append(name)

    # The guest has no modprobe: what a rule of nftables may ask for has to be there before.
    for name in (*MODULES, *sorted(name for name in modules if name.startswith("nft_"))):
        add(name)
    return [modules[name] for name in ordered]


def initial_tree(modules: dict[str, Path], script: str) -> bytes:
    """A cpio archive (newc) of the first file system."""
    files: list[tuple[str, int, bytes]] = [
        (name, 0o040755, b"")
        for name in ("bin", "proc", "sys", "dev", "modules", "lower", "up", "new", "run")
    ]
    files += [
        ("bin/busybox", 0o100755, Path(shutil.which("busybox") or "").read_bytes()),
        ("init", 0o100755, INIT.encode()),
        ("run.sh", 0o100755, script.encode()),
    ]
    files += [
        (f"modules/{number:02}-{path.name}", 0o100644, path.read_bytes())
        for number, path in enumerate(in_order(modules))
    ]
    archive = b""
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields)
        archive += _padded(head + name.encode() + b"\0") + _padded(content)
    return archive


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def run(kernel: Path, initrd: Path) -> int:
    """Boot; by the processor's help if it gives any, else by translation, ten times slower."""
    if "kvm" in ACCELERATION and os.access("/dev/kvm", os.R_OK | os.W_OK):
        # A nested kvm may refuse to set what this register shows; nothing in here needs it.
        code = boot(kernel, initrd, ["-accel", "kvm", "-cpu", "max,arch-capabilities=off"], 20)
        if code is not None:
            return code
        say("== kvm did not carry a machine; again without")
    code = boot(kernel, initrd, ["-accel", "tcg,thread=multi", "-cpu", "max"], 240)
    return 1 if code is None else code


def boot(kernel: Path, initrd: Path, processor: list[str], life_s: int) -> int | None:
    """Start qemu, pass its serial line on, find the exit code in it; None if there was none.

    It is given up if the guest says nothing of itself within `life_s` seconds.
    """
    command = [
        "timeout", "-k", "5", str(TIMEOUT_S), "qemu-system-x86_64", "-M", "pc", *processor,
        "-smp", "2", "-m", "3072", "-nographic", "-nodefaults", "-no-reboot",
        "-serial", "stdio", "-monitor", "none", "-kernel", str(kernel), "-initrd", str(initrd),
        "-append", "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off",
        "-fsdev", "local,id=r,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=r,mount_tag=root",
    ]  # fmt: skip
    began, code = time.monotonic(), None
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as machine:
        # A nested kvm can also stand still right after the firmware.
        impatient = threading.Timer(life_s, machine.terminate)
        impatient.start()
        for line in machine.stdout or ():
            # The firmware clears the screen in front of the first line.
            text = re.sub(
                "\x1b(\\[[0-9;?]*[a-zA-Z]|c)", "", line.decode("utf-8", "replace")
            ).rstrip()
            if "== " in text:
                impatient.cancel()
            found = re.match(rf"{EXIT_MARK} (\d+)", text)
            code = int(found[1]) if found else code
            if not found:
                say(text)
        impatient.cancel()
    say(f"== machine: {processor[1]}, exit code {code}, {time.monotonic() - began:.0f} s")
    return code


def say(text: str) -> None:
    """Show a line as soon as it is there."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
