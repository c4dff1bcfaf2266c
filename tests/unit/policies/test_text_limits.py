"""Text that would overflow the parser's stack, and take the daemon with it, never reaches the parser."""

import signal
import subprocess
import sys

import pytest

from policies.bundle import SCHEMA_FILE, PolicyBundle, shipped
from policies.errors import BundleInvalid
from policies.text_limits import MAX_NESTING, MAX_STATEMENT_TOKENS, decode_text
from tests.unit.policies.small_bundles import SCHEMA, bundle_of


def policy_with(condition: str) -> str:
    return f'@id("t.x") @control("PCI 7.2.2") permit (principal, action, resource) when {{ {condition} }};'


DEEP = 5_000


def test_the_parser_alone_is_killed_by_nested_brackets() -> None:
    # The reason for the limits; when this fails because cedarpy refuses such text, they may go.
    program = """
import resource, sys, cedarpy
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    cedarpy.PolicySet.from_str(sys.stdin.read())
except ValueError:
    print("refused")
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        input=policy_with("(" * DEEP + "true" + ")" * DEEP),
        capture_output=True,
        check=False,
        text=True,
    )
    assert result.returncode == -signal.SIGSEGV, result.stdout


@pytest.mark.parametrize(
    "condition",
    [
        "(" * DEEP + "true" + ")" * DEEP,
        "!(" * DEEP + "true" + ")" * DEEP,
        "[" * DEEP + "]" * DEEP + " == []",
        '{"a": ' * DEEP + "1" + "}" * DEEP + " == 1",
        # Where a careless scanner would see a comment or a string, and Cedar sees brackets.
        "//\r" + "(" * DEEP + "true" + ")" * DEEP,
        '"\\"" == "" || ' + "(" * DEEP + "true" + ")" * DEEP,
        '"//" == "" || ' + "(" * DEEP + "true" + ")" * DEEP,
    ],
)
def test_nested_brackets_are_refused_before_they_reach_the_parser(condition: str) -> None:
    with pytest.raises(BundleInvalid, match=rf"nests deeper than {MAX_NESTING} brackets on line 1"):
        bundle_of(policy_with(condition))


@pytest.mark.parametrize(
    "condition",
    [
        "context" + ".a" * 20_000,
        "if true then " * DEEP + "true" + " else true" * DEEP,
        " && ".join(["true"] * 30_000),
        "context.channel" + ".contains(1)" * 10_000,
        "-" * 30_000 + "1 == 1",
    ],
)
def test_endless_chains_are_refused_before_they_reach_the_parser(condition: str) -> None:
    with pytest.raises(BundleInvalid, match=rf"statement of more than {MAX_STATEMENT_TOKENS} words"):
        bundle_of(policy_with(condition))


def test_a_schema_is_measured_too() -> None:
    nested = b"entity A { a: " + b"{b: " * 6_000 + b"Long" + b"}" * 6_000 + b"};"
    with pytest.raises(BundleInvalid, match=r"File schema\.cedarschema nests deeper"):
        PolicyBundle({SCHEMA_FILE: nested}, foreign_schema=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("permit (principal, action, resource", "File a.cedar ends while a bracket is still open."),
        ("permit )", "File a.cedar closes a bracket on line 1 that is not open."),
        ("// one\npermit (principal]", "File a.cedar closes a bracket on line 2 that is not open."),
        ('\n\n@id("t.x', "File a.cedar opens a string on line 3 and never closes it."),
        ('@id("t\\\n")', "File a.cedar opens a string on line 1 and never closes it."),
    ],
)
def test_open_ends_are_refused_with_their_line(text: str, sentence: str) -> None:
    with pytest.raises(BundleInvalid) as refused:
        decode_text("a.cedar", text.encode())
    assert refused.value.message == sentence


def test_brackets_in_comments_and_strings_do_not_count() -> None:
    text = "// " + "(" * 100 + "\n" + policy_with('context.channel == "' + "[" * 100 + '"')
    assert [policy.id for policy in bundle_of(text).policies] == ["t.x"]


def test_many_policies_of_ordinary_size_are_no_endless_chain() -> None:
    many = "".join(
        f'@id("t.p{n}") @control("PCI 7.2.2") permit (principal, action, resource);' for n in range(1_000)
    )
    assert len(bundle_of(many).policies) == 1_000


def test_the_shipped_files_are_far_from_the_limits() -> None:
    for name, content in shipped().files.items():
        assert decode_text(name, content).count("(") < 200
    assert len(SCHEMA) < 5_000
