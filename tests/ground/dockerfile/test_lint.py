from __future__ import annotations

import pytest

from dockerlab.dockerfile.lint import RULES, lint
from dockerlab.dockerfile.parse import parse


@pytest.mark.parametrize(
    ("text", "rule", "lines"),
    [
        ("FROM a AS Base\n", "StageNameCasing", "1"),
        ("FROM a as base\n", "FromAsCasing", "1"),
        ("FROM a\nRUN x \\\n\n  y\n", "NoEmptyContinuation", "2-4"),
        ("FROM a\nRun x\n", "ConsistentInstructionCasing", "2"),
        ("FROM a AS x\nFROM b AS x\n", "DuplicateStageName", "2"),
        ("FROM a AS scratch\n", "ReservedStageName", "1"),
        ("FROM a\nCMD x\n", "JSONArgsRecommended", "2"),
        ("FROM a\nMAINTAINER me\n", "MaintainerDeprecated", "2"),
        ("FROM a:$V\n", "UndefinedArgInFrom", "1"),
        ("FROM a\nWORKDIR b\n", "WorkdirRelativePath", "2"),
        ('FROM a\nCMD ["a"]\nCMD ["b"]\n', "MultipleInstructionsDisallowed", "2"),
        ("FROM a\nENV a b\n", "LegacyKeyValueFormat", "2"),
        ("FROM a\nARG MY_TOKEN\n", "SecretsUsedInArgOrEnv", "2"),
    ],
)
def test_each_rule_finds_its_lines(text: str, rule: str, lines: str) -> None:
    findings = lint(parse(text))
    assert [(finding.rule.name, str(finding.lines)) for finding in findings] == [(rule, lines)]
    assert lint(parse(f"# check=skip={rule}\n{text}")) == ()
    assert lint(parse(f"# check=skip=all\n{text}")) == ()


def test_a_good_file_has_no_findings() -> None:
    text = (
        "ARG V=1\nFROM a:$V AS x\nWORKDIR /a\nWORKDIR b\nENV PUBLIC_KEY=1 A=2\n"
        'FROM --platform=$BUILDPLATFORM x\nCMD ["a"]\n'
    )
    assert lint(parse(text)) == ()


def test_every_rule_has_a_page_of_its_own() -> None:
    assert len({rule.url for rule in RULES}) == len(RULES)
    assert all(rule.url.startswith("https://docs.docker.com/") for rule in RULES)
