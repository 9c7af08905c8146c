"""YAML 1.2, and nothing that could surprise or exhaust."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.errors import Invalid
from trimtab.core.spec import document


def value(text: str) -> object:
    return document.read(text, "a.yaml").value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['no', \"on\", 'y', nO, oN, noon]", ["no", "on", "y", "nO", "oN", "noon"]),
        ("[true, True, FALSE, null, ~, ]", [True, True, False, None, None]),
        ("[1, -2, +3, 007, 08, 0o14, 0x1F]", [1, -2, 3, 7, 8, 12, 31]),
        ("[1.5, .5, 1e3, -1E-2, 1.]", [1.5, 0.5, 1000.0, -0.01, 1.0]),
        ("['1_000', 1:30, 9E, 0b2, _1, 0123abc]", ["1_000", "1:30", "9E", "0b2", "_1", "0123abc"]),
        ("[2024-01-31, 2024-01-31T06:00:00Z]", ["2024-01-31", "2024-01-31T06:00:00Z"]),
        ("""["1", 'true', "~"]""", ["1", "true", "~"]),
        ("a: |\n  1\n", {"a": "1\n"}),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ("a:\n", {"a": None}),
        ("%YAML 1.1\n---\na: 'no'\n", {"a": "no"}),
    ],
)
def test_plain_values_follow_the_core_schema_of_yaml_1_2(text: str, expected: object) -> None:
    assert value(text) == expected


REFUSED = {
    "a duplicate key": ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "the key c stands here again, first on line 3", "keep one"),
    "a Python tag": ("a: !!python/object/apply:os.system [ls]\n", 1, "found the tag", "plain values"),
    "a standard tag": ("a: 1\nb: !!str 5\n", 2, "found the tag", "plain values"),
    "a local tag": ("a: !mine {}\n", 1, "found the tag !mine", "plain values"),
    "a second document": ("a: 1\n---\nb: 2\n", 2, "a second document begins here", "its own file"),
    "an alias of nothing": ("a: *x\n", 1, "*x repeats a value that is not complete", "&x"),
    "an alias inside itself": ("a: &x [1, *x]\n", 1, "*x repeats a value that is not complete", "write the value out"),
    "a merge key": ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "found the merge key <<", "write the fields out"),
    "a number as a key": ("a:\n  1: x\n", 2, "found 1 as a key", '"1"'),
    "a list as a key": ("? [a]\n: 1\n", 1, "found a list, mapping or alias as a key", "quotes"),
    "a tab": ("a:\n\tb: 1\n", 2, "found a tab", "two spaces"),
    "an unclosed list": ("a: [1,\n  2\n", 1, "ends inside something that was opened", "close the bracket"),
    "an unclosed quote": ("a: 'x\n", 1, "ends inside something that was opened", "quote"),
    "a colon astray": ("a: b: c\n", 1, "a colon where no key can stand", "quotes"),
    "an odd beginning": ("a: @x\n", 1, "cannot start any token", "quotes"),
    "a control character": ("a: 1\nb: \x07\n", 2, "control character U+0007", "UTF-8"),
    "what kubectl takes for true": (
        "a: 1\nb: Yes\n",
        2,
        "found Yes without quotes, which kubectl reads as true",
        '"Yes"',
    ),
    "what kubectl takes for false": ("a: [b, off]\n", 1, "which kubectl reads as false", "or false if that is meant"),
    "a key that kubectl takes for true": ("a:\n  y: 1\n", 2, "found y without quotes", '"y"'),
    "what is octal to kubectl": (
        "a: 012\n",
        1,
        "found 012 without quotes, which kubectl reads as the number 10",
        '"012"',
    ),
    "a number with underscores": ("a: 1_000\n", 1, "which kubectl reads as a number", '"1_000"'),
    "a binary number": ("a: -0b11\n", 1, "which kubectl reads as a number", "plain digits"),
    "a signed hexadecimal number": ("a: +0x1F\n", 1, "which kubectl reads as a number", "plain digits"),
    "half a character": ('a: "\\ud800"\n', 1, "half of a surrogate pair", "itself"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_plain_yaml_is_refused_with_its_line(case: str) -> None:
    text, line, found, hint = REFUSED[case]
    with pytest.raises(Invalid) as refused:
        value(text)
    assert refused.value.message.startswith(f"a.yaml line {line}: ")
    assert found in refused.value.message
    assert hint in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize("text", ["", "  \n\n", "# only a comment\n"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is empty; it needs a ContinuousModel"):
        value(text)


def test_more_than_a_mebibyte_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Invalid, match="1,048,577 bytes; a spec has at most 1,048,576"):
        value("a" * ((1 << 20) + 1))


def test_aliases_that_explode_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    started = time.process_time()
    with pytest.raises(Invalid, match="come to more than 50,000"):
        value("\n".join(lines))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 5_000, "- " * 5_000 + "x"])
def test_deep_nesting_is_refused_not_recursed(text: str) -> None:
    with pytest.raises(Invalid, match="nested more than 32 deep"):
        value(text)


def test_a_secret_on_a_broken_line_is_not_repeated() -> None:
    with pytest.raises(Invalid) as refused:
        value("a: b: https://hooks.example/T0KEN\n")
    assert "T0KEN" not in str(refused.value)


def test_lines_are_known_by_path_and_unknown_paths_fall_back_to_what_is_around() -> None:
    read = document.read("a:\n  b: [1,\n    2]\nc: {d: 1}\n", "a.yaml")
    assert read.line(("a", "b")) == 2
    assert read.line(("a", "b", 1)) == 3
    assert read.line(("c", "d", "nothing", 5)) == 4
    assert read.line(("nothing",)) == 1


@settings(deadline=None)  # the machine is shared
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Invalid):  # anything else that is raised fails the test
        read = document.read(text, "a.yaml")
        assert all(line >= 1 for line in read.lines.values())
