"""Docstrings begin with what they name, in one spelling; comments give reasons.

The rules are those of docs/architecture.md, checked by reading the sources.
"""

import ast
from collections.abc import Iterator
import io
from pathlib import Path
import re
import tokenize

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("medad_jax", "configs", "data_builders", "benchmarks")
SOURCES = sorted(
  path.relative_to(ROOT)
  for folder in FOLDERS
  for path in (ROOT / folder).rglob("*.py")
)
# A first line is a noun phrase that names the result, or begins with a verb.
FRAGMENTS = {
  *("what", "how", "where", "who", "whose", "which", "whether", "when", "why"),
  *("of", "as", "by", "from", "with", "without", "in", "on", "at", "for"),
  *("to", "under", "until", "while", "also", "those", "these", "such", "if"),
}
MOST_WORDS = 24
# British spellings; a word with an underscore is a name, not prose.
BRITISH = re.compile(
  r"\b(?:"
  r"\w*(?:normal|optim|initial|regular|general|visual|recogn|organ|serial"
  r"|summar|parametr|random|vector|quant|standard|minim|maxim|local|equal"
  r"|categor|character|emphas|penal|real|special|util)is(?:e[ds]?|ing|ations?)"
  r"|(?:colour|grey|behaviour|neighbour|favour|honour)\w*|centre[ds]?"
  r"|analyse[ds]?|catalogue\w*|artefact\w*|judgement\w*|whilst|programmes?"
  r"|(?:un)?label(?:led|ling)|model(?:led|ling)|cancel(?:led|ling)"
  r"|travel(?:led|ling)|licences?|defence|fibres?|metres?"
  r")\b",
  re.IGNORECASE,
)
# Lines with a comment, in percent of the lines of code.
LEAST_COMMENTS = {
  "medad_jax/engine": 8.0,
  "medad_jax/methods": 8.0,
  "medad_jax/nets/ops": 8.0,
}
DEFINITIONS = (
  ast.Module,
  ast.ClassDef,
  ast.FunctionDef,
  ast.AsyncFunctionDef,
)


def docstrings(tree: ast.AST) -> Iterator[tuple[str, ast.Constant]]:
  """Yields every docstring with the name that it describes."""
  for node in ast.walk(tree):
    if not isinstance(node, DEFINITIONS) or not node.body:
      continue
    first = node.body[0]
    if (
      isinstance(first, ast.Expr)
      and isinstance(first.value, ast.Constant)
      and isinstance(first.value.value, str)
    ):
      yield getattr(node, "name", ""), first.value


def comments(source: str) -> Iterator[tuple[int, str]]:
  """Yields every comment with its line."""
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      yield token.start[0], token.string


def prose(text: str) -> str:
  """The text without names: labels of arguments, paths, pieces of code."""
  text = re.sub(r"^\s*\w+:", "", text, flags=re.MULTILINE)
  text = re.sub(r"\S+[/=]\S*", "", text)
  return re.sub(r"`[^`]*`|\"[^\"\n]*\"|'\w*'|\w+\.\w+", "", text)


def problems(source: str) -> list[str]:
  """What is wrong with a file's docstrings and comments."""
  found = []
  for name, node in docstrings(ast.parse(source)):
    text = str(node.value).strip()
    first = text.splitlines()[0].split()
    if not name.startswith("_"):
      if first[0].strip(",:").lower() in FRAGMENTS:
        found.append(f"{node.lineno}: {name} begins with '{first[0]}'")
      if len(first) > MOST_WORDS:
        found.append(f"{node.lineno}: {name} begins with {len(first)} words")
    found += _british(node.lineno, text)
  for line, text in comments(source):
    found += _british(line, text)
  return found


def share_of_comments(source: str) -> tuple[int, int]:
  """Lines with a comment, and lines of code without docstrings."""
  commented = {line for line, _ in comments(source)}
  described = {
    line
    for _, node in docstrings(ast.parse(source))
    for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
  }
  blank = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER),
    *(tokenize.INDENT, tokenize.DEDENT),
  }
  code = {
    line
    for token in tokenize.generate_tokens(io.StringIO(source).readline)
    if token.type not in blank
    for line in range(token.start[0], token.end[0] + 1)
  }
  return len(commented), len(code - described)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_docstrings_and_comments_keep_the_rules(path):
  assert not problems((ROOT / path).read_text())


@pytest.mark.parametrize("folder", LEAST_COMMENTS)
def test_comments_give_reasons(folder):
  counts = [
    share_of_comments(path.read_text())
    for path in (ROOT / folder).rglob("*.py")
  ]
  commented, code = map(sum, zip(*counts, strict=True))
  assert 100 * commented / code >= LEAST_COMMENTS[folder]


@pytest.mark.parametrize(
  "source, problem",
  [
    ('"""What a file does."""', "begins with 'What'"),
    ('def f():\n  """Of one net."""', "begins with 'Of'"),
    ('class A:\n  """Whether it is."""', "begins with 'Whether'"),
    (f'"""A{" very" * 24} long line."""', "begins with 27 words"),
    ('"""The image, normal' + 'ised."""', "is British"),
    ("x = 1  # the col" + "our", "is British"),
  ],
)
def test_a_bad_docstring_is_found(source, problem):
  (found,) = problems(source)
  assert problem in found


@pytest.mark.parametrize(
  "source",
  [
    'def _f():\n  """Of one net."""',
    '"""A gray image, normalized."""',
    'def f(a):\n  """Adds.\n\n  Args:\n    unlabelled: the `grey` ones.\n  """',
  ],
)
def test_names_and_private_functions_are_free(source):
  assert not problems(source)


def test_comments_are_counted_by_lines_of_code():
  source = '"""Doc."""\n# Why.\nx = 1  # trailing\n\ny = """a\nb"""\n'
  assert share_of_comments(source) == (2, 3)


def _british(line: int, text: str) -> list[str]:
  return [
    f"{line}: '{word}' is British" for word in BRITISH.findall(prose(text))
  ]
