"""Nothing that is read becomes code: no pickle, eval, shell or network at run time."""

import ast
import pathlib

import pytest

import slicebench

PACKAGE = pathlib.Path(slicebench.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

MODULES = {
    "pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "subprocess",
    "pty",
    "commands",
    "urllib",
    "requests",
    "http",
    "httpx",
    "aiohttp",
    "ftplib",
    "smtplib",
    "socket",
    "ssl",
    "xmlrpc",
    "fsspec",
    "code",
    "runpy",
}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    "system",
    "popen",
    "spawnl",
    "spawnv",
    "execv",
    "execve",
    "exec_module",
    "read_pickle",
    "to_pickle",
    "unsafe_load",
}
ALLOWED = {
    # The user's own experiment is Python code that the user names; docs say so.
    ("runner/experiments.py", "exec_module"),
    # Only with --executor=ray and the address of the user's own cluster, to say
    # that it cannot be reached; nothing is sent.
    ("runner/ray_cluster.py", "socket"),
    # Only where the user gives a work folder by URL: it reaches that place, with the
    # user's own credentials, and nothing else.
    ("remote/_place.py", "fsspec"),
}
"""Exceptions by file, each with its reason."""


def uses(tree):
    """Yields line and name of everything that is not wanted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
            yield from ((node.lineno, name) for name in names if name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            name = (node.module or "").split(".")[0]
            if node.level == 0 and name in MODULES:
                yield node.lineno, name
        elif isinstance(node, ast.Call):
            yield from _calls(node)


def _calls(node):
    called = node.func
    if isinstance(called, ast.Name) and called.id in CALLS:
        yield node.lineno, called.id
    if isinstance(called, ast.Attribute):
        if called.attr in ATTRIBUTES:
            yield node.lineno, called.attr
        if called.attr == "load" and getattr(called.value, "id", "") in (
            "yaml",
            "torch",
        ):
            yield node.lineno, f"{called.value.id}.load"
    for keyword in node.keywords:
        value = getattr(keyword.value, "value", None)
        if keyword.arg == "allow_pickle" and value is not False:
            yield node.lineno, "allow_pickle"
        if keyword.arg == "shell" and value is not False:
            yield node.lineno, "shell"


@pytest.mark.parametrize("name", FILES)
def test_no_file_uses_them(name):
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    found = [(line, what) for line, what in uses(tree) if (name, what) not in ALLOWED]
    assert not found


def test_every_exception_is_needed():
    for name, what in ALLOWED:
        path = PACKAGE / name
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert what in {used for _, used in uses(tree)}, name


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from urllib.request import urlopen",
        "import fsspec",
        "eval('1')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=given)",
        "subprocess.run('ls', shell=True)",
        "os.system('ls')",
        "yaml.load(text)",
    ],
)
def test_what_is_looked_for_is_found(text):
    assert list(uses(ast.parse(text)))


def test_numpy_reads_no_pickle_unless_told():
    import numpy as np

    assert np.load.__kwdefaults__ is None or not np.load.__kwdefaults__.get(
        "allow_pickle"
    )
