"""Which mode the facts amount to, and how a learner reads it."""

from __future__ import annotations

from dockerlab.engine.linux import doctor
from dockerlab.engine.linux import findings as facts
from dockerlab.engine.linux.findings import Finding, Report, State
from dockerlab.engine.linux.throwaway import refused
from dockerlab.engine.model.machine import Mode

NAMES = ("namespaces", "user namespaces", "proc", "overlay")


def findings(**states):
    return tuple(
        Finding(
            name=name,
            state=states.get(name.replace(" ", "_"), State.OK),
            meaning=f"about {name}",
            remedy=""
            if states.get(name.replace(" ", "_"), State.OK) is State.OK
            else f"fix {name}",
        )
        for name in NAMES
    )


def judge(*, root=True, **states) -> Report:
    return facts.judge(findings(**states), root=root)


def test_modes():
    assert judge().mode is Mode.FULL
    # Copies instead of overlay, no user namespaces: slower or narrower, but everything.
    assert judge(overlay=State.LIMITED, user_namespaces=State.MISSING).mode is Mode.FULL
    assert judge(root=False).mode is Mode.ROOTLESS
    assert judge(namespaces=State.MISSING).mode is Mode.IMAGES_ONLY
    assert judge(proc=State.MISSING).mode is Mode.IMAGES_ONLY
    assert judge(root=False, user_namespaces=State.MISSING).mode is Mode.IMAGES_ONLY


def test_the_first_line_says_the_mode_and_what_lifts_it():
    full = doctor.headline(judge())
    assert full == "full: containers, builds, networks and images all work here."
    lacking = doctor.headline(judge(proc=State.MISSING))
    assert lacking == (
        "images only: pull, push, load, save and layers work; containers do not, "
        "because about proc. fix proc"
    )
    assert "--privileged" in doctor.headline(judge(root=False))


def test_each_remedy_stands_below_its_fact():
    lines = doctor.render(judge(overlay=State.LIMITED)).splitlines()
    assert lines[0] == doctor.headline(judge())
    assert lines[-2:] == [
        "limited  overlay          about overlay",
        "                          -> fix overlay",
    ]
    assert lines[2] == "ok       namespaces       about namespaces"


def test_why_a_child_failed_is_told():
    def refuse():
        raise OSError(1, "not today")

    assert refused(lambda: None) == ""
    assert refused(refuse) == "[Errno 1] not today"
