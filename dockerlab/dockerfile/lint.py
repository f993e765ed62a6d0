"""What is legal in a Dockerfile and still worth a word: rules as values.

Knows:   each rule's name, its sentence and its page; which instructions of a file break it.
Refuses: to stop anything; a finding is a warning with its lines.
Source:  docs.docker.com/reference/build-checks: names, sentences and pages are Docker's.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dockerlab.dockerfile import instructions as kinds
from dockerlab.dockerfile.lines import LineRange
from dockerlab.dockerfile.parse import Dockerfile

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"
_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_PUBLIC = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)
_RESERVED = frozenset({"scratch", "context"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that breaks a rule."""

    rule: Rule
    text: str
    lines: LineRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Something worth a word.

    Attributes:
        name: as `# check=skip=NAME` says it.
        sentence: what the rule asks for.
        page: the last part of its address.
        find: texts about a file, with their lines.
    """

    name: str
    sentence: str
    page: str
    find: Callable[[Dockerfile], Iterator[tuple[str, LineRange]]] = field(compare=False)

    @property
    def url(self) -> str:
        """Where it is explained."""
        return f"{_PAGES}{self.page}/"


def lint(read: Dockerfile) -> tuple[Finding, ...]:
    """Hold a file against every rule that it does not skip, in the order of its lines."""
    skipped = _skipped(read.directives.check)
    if "all" in skipped:
        return ()
    found = [
        Finding(rule, text, lines)
        for rule in RULES
        if rule.name.lower() not in skipped
        for text, lines in rule.find(read)
    ]
    return tuple(sorted(found, key=lambda finding: finding.lines))


def _skipped(check: str) -> frozenset[str]:
    for option in check.split(";"):
        name, _, value = option.partition("=")
        if name.strip().lower() == "skip":
            return frozenset(word.strip().lower() for word in value.split(","))
    return frozenset()


Places = Iterator[tuple[str, LineRange]]


def _stage_name_casing(read: Dockerfile) -> Places:
    for one in _stages(read):
        written = one.source.text.split()[-1]
        if one.name and written != written.lower():
            yield f"Stage name '{written}' should be lowercase", one.source.lines


def _from_as_casing(read: Dockerfile) -> Places:
    for one in _stages(read):
        words = one.source.text.split()
        if one.name and words[0].isupper() != words[-2].isupper():
            yield f"'{words[-2]}' and '{words[0]}' keywords' casing do not match", one.source.lines


def _consistent_casing(read: Dockerfile) -> Places:
    words = [(one.source.text.split()[0], one.source.lines) for one in read.instructions]
    upper = sum(word.isupper() for word, _ in words)
    lower = sum(word.islower() for word, _ in words)
    name, fits = ("uppercase", str.isupper) if upper >= lower else ("lowercase", str.islower)
    for word, lines in words:
        if not fits(word):
            text = f"Command '{word}' should match the case of the command majority ({name})"
            yield text, lines


def _duplicate_stage_name(read: Dockerfile) -> Places:
    seen: set[str] = set()
    for one in _stages(read):
        if one.name and one.name in seen:
            text = f'Duplicate stage name "{one.name}", stage names should be unique'
            yield text, one.source.lines
        seen.add(one.name)


def _reserved_stage_name(read: Dockerfile) -> Places:
    for one in _stages(read):
        if one.name in _RESERVED:
            text = f"'{one.name}' is reserved and should not be used as a stage name"
            yield text, one.source.lines


def _no_empty_continuation(read: Dockerfile) -> Places:
    for line in read.lines:
        if line.has_gap:
            yield "Empty continuation line", line.lines


def _maintainer_deprecated(read: Dockerfile) -> Places:
    for one in read.instructions:
        if isinstance(one, kinds.Maintainer):
            text = "Maintainer instruction is deprecated in favor of using label"
            yield text, one.source.lines


def _legacy_key_value(read: Dockerfile) -> Places:
    for one in read.instructions:
        if isinstance(one, kinds.Env | kinds.Label) and one.old_form:
            word = one.keyword
            text = f'"{word} key=value" should be used instead of legacy "{word} key value" format'
            yield text, one.source.lines


def _json_args(read: Dockerfile) -> Places:
    has_shell = any(isinstance(one, kinds.Shell) for one in read.instructions)
    for one in read.instructions if not has_shell else ():
        if isinstance(one, kinds.Cmd | kinds.Entrypoint) and one.command.shell_form:
            text = (
                f"JSON arguments recommended for {one.keyword} to prevent unintended behavior "
                "related to OS signals"
            )
            yield text, one.source.lines


def _multiple_instructions(read: Dockerfile) -> Places:
    """Only the last CMD, ENTRYPOINT and HEALTHCHECK of a stage counts."""
    later: set[str] = set()
    for one in reversed(read.instructions):
        if isinstance(one, kinds.From):
            later.clear()
        elif isinstance(one, kinds.Cmd | kinds.Entrypoint | kinds.Healthcheck):
            if one.keyword in later:
                text = (
                    f"Multiple {one.keyword} instructions should not be used in the same stage "
                    "because only the last one will be used"
                )
                yield text, one.source.lines
            later.add(one.keyword)


def _workdir_relative(read: Dockerfile) -> Places:
    known = False
    for one in read.instructions:
        if isinstance(one, kinds.From):
            known = False
        elif isinstance(one, kinds.Workdir):
            absolute = posixpath.isabs(one.path) or one.path.startswith("$")
            if not absolute and not known:
                text = (
                    f'Relative workdir "{one.path}" can have unexpected results if the base image '
                    "changes"
                )
                yield text, one.source.lines
            known = known or absolute


def _secrets(read: Dockerfile) -> Places:
    for one in read.instructions:
        names = [name for name, _ in one.pairs] if isinstance(one, kinds.Arg | kinds.Env) else []
        for name in names:
            if _SECRET.search(name) and not _PUBLIC.search(name):
                text = (
                    "Do not use ARG or ENV instructions for sensitive data "
                    f'({one.keyword} "{name}")'
                )
                yield text, one.source.lines


def _undefined_arg_in_from(read: Dockerfile) -> Places:
    known: set[str] = set()
    for one in read.instructions:
        if isinstance(one, kinds.Arg):
            known |= {name for name, _ in one.pairs}
        elif isinstance(one, kinds.From):
            break
    for one in _stages(read):
        for name in re.findall(r"\$\{?(\w+)", one.image):
            if name not in known and not name.startswith(("TARGET", "BUILD")):
                yield f"FROM argument '{name}' is not declared", one.source.lines


def _stages(read: Dockerfile) -> Iterator[kinds.From]:
    return (one for one in read.instructions if isinstance(one, kinds.From))


RULES = (
    Rule(
        name="StageNameCasing",
        sentence="Stage names should be lowercase",
        page="stage-name-casing",
        find=_stage_name_casing,
    ),
    Rule(
        name="FromAsCasing",
        sentence="The 'as' keyword should match the case of the 'from' keyword",
        page="from-as-casing",
        find=_from_as_casing,
    ),
    Rule(
        name="NoEmptyContinuation",
        sentence="Empty continuation lines will become errors in a future release",
        page="no-empty-continuation",
        find=_no_empty_continuation,
    ),
    Rule(
        name="ConsistentInstructionCasing",
        sentence="All commands within the Dockerfile should use the same casing",
        page="consistent-instruction-casing",
        find=_consistent_casing,
    ),
    Rule(
        name="DuplicateStageName",
        sentence="Stage names should be unique",
        page="duplicate-stage-name",
        find=_duplicate_stage_name,
    ),
    Rule(
        name="ReservedStageName",
        sentence="Reserved words should not be used as stage names",
        page="reserved-stage-name",
        find=_reserved_stage_name,
    ),
    Rule(
        name="JSONArgsRecommended",
        sentence=(
            "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior "
            "related to OS signals"
        ),
        page="json-args-recommended",
        find=_json_args,
    ),
    Rule(
        name="MaintainerDeprecated",
        sentence=(
            "The MAINTAINER instruction is deprecated, use a label instead to define an "
            "image author"
        ),
        page="maintainer-deprecated",
        find=_maintainer_deprecated,
    ),
    Rule(
        name="UndefinedArgInFrom",
        sentence="FROM command must use declared ARGs",
        page="undefined-arg-in-from",
        find=_undefined_arg_in_from,
    ),
    Rule(
        name="WorkdirRelativePath",
        sentence="Relative workdir without an absolute workdir declared within the build",
        page="workdir-relative-path",
        find=_workdir_relative,
    ),
    Rule(
        name="MultipleInstructionsDisallowed",
        sentence=("Multiple instructions of the same type should not be used in the same stage"),
        page="multiple-instructions-disallowed",
        find=_multiple_instructions,
    ),
    Rule(
        name="LegacyKeyValueFormat",
        sentence=("Legacy key/value format with whitespace separator should not be used"),
        page="legacy-key-value-format",
        find=_legacy_key_value,
    ),
    Rule(
        name="SecretsUsedInArgOrEnv",
        sentence="Sensitive data should not be used in the ARG or ENV commands",
        page="secrets-used-in-arg-or-env",
        find=_secrets,
    ),
)
