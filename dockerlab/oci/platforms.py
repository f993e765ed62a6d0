"""Platforms: reading "linux/arm64", and choosing the best entry of an index for a machine.

Knows:   the spellings of architectures and what a machine can run, best first.
Refuses: to ask which machine this is; callers pass `os.uname().machine`.
Source:  containerd/platforms database.go, compare.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dockerlab.errors import InvalidRequest, NotFound
from dockerlab.oci.documents import Descriptor, Platform

_ARCHITECTURES: dict[str, tuple[str, str | None]] = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_ARCHITECTURE_WORDS = (
    "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm"
)
_SYSTEM_WORDS = (
    "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris "
    "wasip1 windows macos"
)
_KNOWN_ARCHITECTURES = frozenset(_ARCHITECTURE_WORDS.split())
_KNOWN_SYSTEMS = frozenset(_SYSTEM_WORDS.split())
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ATTESTATION = "vnd.docker.reference.type"


def normalise(platform: Platform) -> Platform:
    """Reduce the spellings of one platform to one; variants that are the default vanish."""
    system = {"macos": "darwin"}.get(platform.os.lower(), platform.os.lower())
    architecture, variant = platform.architecture.lower(), platform.variant.lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, None))
    variant = variant if implied is None else implied
    if variant and variant[0].isdigit():
        variant = f"v{variant}"
    if architecture == "arm":
        variant = variant or "v7"
    elif (architecture == "amd64" and variant == "v1") or (
        architecture == "arm64" and variant in {"v8", "v8.0"}
    ):
        variant = ""
    return Platform(
        os=system or "linux",
        architecture=architecture,
        variant=variant,
        os_version=platform.os_version,
        os_features=platform.os_features,
    )


def parse(text: str, *, host: Platform | None = None) -> Platform:
    """Read "os/arch[/variant]", "arch" or "os"; what is missing comes from `host`.

    Raises:
        InvalidRequest: in containerd's words.
    """
    host = host or Platform(os="linux", architecture="amd64")
    parts = text.split("/")
    if not text or len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidRequest(
            f'"{text}": invalid platform specifier: must be of the form os[/arch[/variant]]',
            hint="For example linux/arm64.",
        )
    if len(parts) > 1:
        variant = parts[2] if len(parts) == 3 else ""
        return normalise(Platform(os=parts[0], architecture=parts[1], variant=variant))
    alone = normalise(Platform(os="linux", architecture=parts[0]))
    if alone.architecture in _KNOWN_ARCHITECTURES:
        return alone
    if parts[0].lower() in _KNOWN_SYSTEMS:
        return normalise(
            Platform(os=parts[0], architecture=host.architecture, variant=host.variant)
        )
    raise InvalidRequest(
        f'"{text}": unknown operating system or architecture: invalid argument',
        hint="For example linux/arm64.",
    )


def of_machine(machine: str) -> Platform:
    """Translate the kernel's word for the machine (uname -m)."""
    return normalise(Platform(os="linux", architecture=machine))


def render(platform: Platform) -> str:
    """Write a platform as people do: linux/arm64/v8."""
    parts = (platform.os, platform.architecture, platform.variant)
    return "/".join(part for part in parts if part)


def accepted(host: Platform) -> list[Platform]:
    """List what a machine can run, best first."""
    host = normalise(host)
    pairs = [(host.architecture, host.variant)]
    if host.architecture == "amd64":
        level = _number(host.variant)
        pairs += [("amd64", f"v{n}") for n in range(int(level) - 1, 1, -1)]
        pairs += [("amd64", "")] if host.variant else []
        pairs += [("386", "")]
    elif host.architecture == "arm64":
        pairs += [("arm64", variant) for variant in _arm64_below(host.variant)]
        pairs += [("arm", f"v{n}") for n in (8, 7, 6, 5)]
    elif host.architecture == "arm":
        pairs += [("arm", f"v{n}") for n in range(int(_number(host.variant)) - 1, 4, -1)]
    return [Platform(os=host.os, architecture=arch, variant=variant) for arch, variant in pairs]


def choose(manifests: Iterable[Descriptor], wanted: Platform, *, exact: bool = False) -> Descriptor:
    """Pick the best manifest of an index for a machine; the first one on a tie.

    `exact` says that the platform was asked for by name, so nothing that the machine merely
    tolerates (386 on amd64) will do.

    Raises:
        NotFound: nothing fits; the message lists what there is.
    """
    entries = [entry for entry in manifests if not is_attestation(entry)]
    wanted = normalise(wanted)
    order = [p for p in accepted(wanted) if not exact or p.architecture == wanted.architecture]
    rank = {(p.os, p.architecture, p.variant): n for n, p in enumerate(order)}
    best: tuple[int, Descriptor] | None = None
    for entry in entries:
        if entry.platform is None:
            continue
        offered = normalise(entry.platform)
        place = rank.get((offered.os, offered.architecture, offered.variant))
        if place is None or not set(offered.os_features) <= set(wanted.os_features):
            continue
        if best is None or place < best[0]:
            best = place, entry
    if best is None:
        there = ", ".join(render(e.platform) for e in entries if e.platform) or "none"
        raise NotFound(
            f"no matching manifest for {render(wanted)} in the manifest list entries: {there}",
            hint="Ask for one of those with --platform.",
        )
    return best[1]


def matches(offered: Platform, wanted: Platform) -> bool:
    """Tell whether a machine of platform `wanted` runs `offered`."""
    offered = normalise(offered)
    return any(
        (p.os, p.architecture, p.variant) == (offered.os, offered.architecture, offered.variant)
        for p in accepted(wanted)
    )


def _number(variant: str) -> float:
    try:
        return float(variant.removeprefix("v") or 0)
    except ValueError:
        return 0


def _arm64_below(variant: str) -> list[str]:
    """ARMv9.x implies v8.(x+5); then every older v8."""
    major, _, minor = variant.removeprefix("v").partition(".")
    if major not in {"8", "9"} or (minor and not minor.isdigit()):
        return []
    minor_number = min(int(minor or 0), 99)
    below: list[str] = []
    if major == "9":
        below += [f"v9.{n}" for n in range(minor_number - 1, 0, -1)]
        below += ["v9"] if minor_number else []
        minor_number += 6
    below += [f"v8.{n}" for n in range(minor_number - 1, 0, -1)]
    return [*below, ""]


def is_attestation(entry: Descriptor) -> bool:
    """Tell whether an entry of an index is a statement about an image, but no image."""
    if (entry.annotations or {}).get(_ATTESTATION) == "attestation-manifest":
        return True
    platform = entry.platform
    return platform is not None and "unknown" in (platform.os, platform.architecture)
