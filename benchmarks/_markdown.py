"""Tables for pages."""

from typing import Any

import pandas as pd


def markdown(frame: pd.DataFrame, decimals: int = 4) -> str:
    """Returns a Markdown table; numbers have at most so many decimals.

    >>> print(markdown(pd.DataFrame({"a": [1, 2], "b": [0.5, None]})))
    | a | b |
    |---|---|
    | 1 | 0.5 |
    | 2 |  |
    """
    records = frame.to_dict("records")
    lines = [[str(name) for name in frame.columns], ["---"] * len(frame.columns)]
    lines += [[_text(value, decimals) for value in row.values()] for row in records]
    rule = f"|{'|'.join(lines[1])}|"
    text = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([text[0], rule, *text[2:]])


def _text(value: Any, decimals: int) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{round(value, decimals):g}"
    return str(value).replace("|", "\\|")
