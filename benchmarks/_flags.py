"""Flags that the benchmarks share, in a namespace of their own each."""

from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags, logging


def bench_flags() -> flags.FlagValues:
    """Returns flags with `--quick` and `--json`, kept apart from the suite's."""
    values = flags.FlagValues()
    flags.DEFINE_bool("quick", False, "smaller and faster form", flag_values=values)
    flags.DEFINE_string("json", None, "file for the rows as JSON", flag_values=values)
    flags.register_validator(
        "json",
        lambda value: not value or Path(value).parent.is_dir(),
        message="must be a file in a folder that exists",
        flag_values=values,
    )
    return values


def is_quick(values: flags.FlagValues) -> bool:
    """Whether the smaller form is asked for."""
    return bool(values["quick"].value)


def json_path(values: flags.FlagValues) -> str | None:
    """Returns the file that the rows go to; None for no file."""
    return values["json"].value


def parser(values: flags.FlagValues) -> Callable[[Sequence[str]], list[str]]:
    """Returns what `app.run` takes to read these flags beside absl's own."""

    def parse(argv: Sequence[str]) -> list[str]:
        # JAX tells of every accelerator that it does not find.
        logging.set_verbosity(logging.WARNING)
        return flags.FLAGS(values(list(argv), known_only=True))

    return parse
