"""Tables as LaTeX, for papers."""

from collections.abc import Sequence

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u2212": "$-$",
    "\u00d7": r"$\times$",
    "\u2013": "--",
    "\u00b2": r"\textsuperscript{2}",
}


def escape(text: str) -> str:
    r"""Returns text that LaTeX sets as it reads.

    >>> escape("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(_ESCAPED.get(letter, letter) for letter in " ".join(text.split()))


def tabular(
    heads: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], title: str
) -> str:
    """Returns a `tabular` with the rules of the package booktabs.

    Args:
      heads: Head of each column, and whether it holds numbers.
      rows: Fields as they are read.
      title: Stands above as a comment.
    """
    shape = "".join("r" if numeric else "l" for _, numeric in heads)
    lines = [
        f"% {' '.join(title.split())}; needs \\usepackage{{booktabs}}",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\toprule",
        _line([label for label, _ in heads]),
        r"\midrule",
        *(_line(row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(fields: Sequence[str]) -> str:
    # Rows must not begin with what would be taken for an option of the row before.
    cells = [escape(field) for field in fields]
    cells[0] = f"{{{cells[0]}}}" if cells[0][:1] in ("[", "*") else cells[0]
    return " & ".join(cells) + r" \\"
