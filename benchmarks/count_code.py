"""
Count lines of code, room by room: no docstrings, no comments, no blank lines.

    python benchmarks/count_code.py [ROOT] [--files] [--against OTHER]

A room is a subpackage, or a module beside the subpackages. A line counts if a
token of code begins, goes on or ends in it; a string that stands alone as a
statement is a docstring. With ``--against`` the counts of another checkout
stand beside.

Before the rooms were renovated (commit f5390f7): 10,282 lines of 20.5 thousand.
"""

import argparse
import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def lines_of_code(source):
    """Return the number of lines of a module that hold code."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def count(package, *, by_file=False):
    """Return the lines of code of each room (or file) of a package."""
    counts = Counter()
    for path in sorted(package.rglob("*.py")):
        if path.name != "_version.py":
            parts = path.relative_to(package).parts
            room = "/".join(parts) if by_file else parts[0] + ("/" if len(parts) > 1 else "")
            counts[room] += lines_of_code(path.read_text(encoding="utf-8"))
    return counts


def main():
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--files", action="store_true", help="count each file")
    parser.add_argument("--against", type=Path, metavar="OTHER", help="another checkout")
    options = parser.parse_args()
    counts = [
        count(root / "cosmiq_astro", by_file=options.files)
        for root in (options.against, options.root)
        if root is not None
    ]
    rooms = sorted(set().union(*counts))
    for name, *numbers in (
        *((room, *(c[room] for c in counts)) for room in rooms),
        ("total", *(c.total() for c in counts)),
    ):
        print(f"{name:40s}" + "".join(f"{number:8,d}" for number in numbers))


if __name__ == "__main__":
    main()
