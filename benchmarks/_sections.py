"""Pages with tables of several commands: each replaces its own part."""

from pathlib import Path


def replace_section(page: Path, name: str, text: str) -> None:
    """Puts text between the marks `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
      ValueError: The page lacks one of the marks.
    """
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    content = page.read_text(encoding="utf-8")
    head, found, rest = content.partition(first)
    _, ended, tail = rest.partition(last)
    if not found or not ended:
        raise ValueError(f"{page}: no part between {first} and {last}")
    page.write_text(f"{head}{first}\n{text.strip()}\n{last}{tail}", encoding="utf-8")
