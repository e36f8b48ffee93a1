"""YAML's syntax errors in words: what libyaml found, said as what the writer should correct. Pure."""

import yaml

_TABS = "tabs cannot indent: use spaces"
_QUOTES = "a value cannot begin with this character: put it in quotes"
ESCAPE = 'this is no escape that text in "double quotes" knows: write \\\\ for one \\, or use single quotes'
_MISFIT = "this does not fit what stands before it: correct the indentation, or put the value in quotes"
_WORDS = (
    ("found a tab character", _TABS),
    ("cannot start any token", _QUOTES),
    ("expected alphabetic or numeric", "* and & have a meaning in YAML: put a value that begins with one in quotes"),
    ("found undefined alias", "* has a meaning in YAML: put a value that begins with it in quotes"),
    ("second occurrence", "the anchor (&) of this name is there already: give one of the two another name"),
    ("found undefined tag handle", "! has a meaning in YAML: put a value that begins with it in quotes"),
    ("mapping values are not allowed", "no `:` can stand here: correct the indentation, or put the value in quotes"),
    ("could not find expected ':'", "a `:` is missing: keys are written as `key: value`"),
    ("expected ',' or ']'", "a `,` or `]` is missing in the list that begins in line {line}"),
    ("expected ',' or '}'", "a `,` or `}}` is missing in the mapping that begins in line {line}"),
    ("unexpected end of stream", "the quote that opens in line {line} is not closed"),
    ("unexpected document indicator", "the quote that opens in line {line} is not closed"),
    ("block sequence entries are not allowed", "a list cannot begin here: put each `- ` on a line of its own"),
    ("expected node content", "a value is missing here, or there is a `,` or a bracket too many"),
    ("expected key", _MISFIT),
    ("expected '-' indicator", _MISFIT),
    ("escape c", ESCAPE),
    ("expected hexdecimal number", ESCAPE),
    ("expected <document start>", "the manifest has ended before this: take it out, or correct the brackets"),
    ("incompatible YAML document", "this version of YAML is not known: take the %YAML line out"),
)
"""A part of libyaml's message, and what is said instead; `line` is where the thing it was reading begins."""


def words(error: yaml.MarkedYAMLError, found: str) -> str:
    """What is wrong, and what would be right; libyaml's own words where none are better.

    Args:
        error: from the scanner, the parser or the composer.
        found: the character at the error's place.
    """
    problem = (error.problem or "this cannot be read").replace("\n", " ")
    if found == "\t" and "cannot start any token" in problem:
        return f"not YAML: {_TABS}"
    line = error.context_mark.line + 1 if error.context_mark else 1
    better = next((said.format(line=line) for part, said in _WORDS if part in problem), problem)
    return f"not YAML: {better}"
