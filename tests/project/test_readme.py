"""The guides tell the truth: their code runs, and what they name is what the code has."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import anywidget
import pytest
import traitlets
from bqserver.app import ChatServer
from bqserver.auth.authenticator import Authenticator
from bqserver.auth.origins import Origins
from bqserver.cli.application import Command, check_arguments
from bqserver.config.limits import LimitSettings
from bqserver.hub.hub import Hub
from bqserver.web.context import AppContext
from bqserver.web.routes import routes
from support.paths import ROOT

import bqwidget
from bqwidget import ChatWidget, Room, errors, protocol, testing
from bqwidget._room.progress import Report
from bqwidget._room.questions.poll import Poll
from bqwidget._room.writing.step_writer import StepWriter
from bqwidget._room.writing.writer import Writer

GUIDES = {
    path: (ROOT / path).read_text()
    for path in (
        "README.md",
        "bqwidget/README.md",
        "server/README.md",
        "tests/README.md",
        "js/README.md",
        "CHANGELOG.md",
    )
}
README, API, SERVER, TESTS = (GUIDES[path] for path in list(GUIDES)[:4])
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMANDS = {
    (path, line.strip())
    for path, guide in GUIDES.items()
    for language, block in BLOCK.findall(guide)
    if not language
    for line in block.splitlines()
}
SIGNATURE = re.compile(r"^\| `((?:(\w+)\.)?(\w+)\(.*?\))`", re.MULTILINE)
VARIABLE = re.compile(r"\bBQ(?:WIDGET|SERVER)_[A-Z_]+")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("pandas", "numpy", "matplotlib", "PIL"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
"""
PACKAGES = (ROOT, ROOT / "server")
MAX_IMAGE_BYTES = 150_000
MAX_README_LINES = 150


def python_blocks(guide: str) -> list[str]:
    return [code for language, code in BLOCK.findall(guide) if language == "python"]


def table_rows(guide: str) -> list[str]:
    return [line for line in guide.splitlines() if line.startswith("|")]


def sources(*folders: str) -> str:
    return "\n".join(path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))


# ---- the code blocks, as cells of a real kernel ------------------------------------------------------


@contextmanager
def colleague() -> Iterator[testing.Member]:
    """A person who answers the README's question."""
    with testing.Member("bob", "lobby") as bob:
        yield bob.on("Keep training?", answer="yes")


def test_the_first_block_is_one_cell_that_shows_the_window(run_cell: Callable[[str], dict[str, Any]]) -> None:
    first, *_ = python_blocks(README)
    assert len(first.splitlines()) == 3
    assert WIDGET_VIEW in run_cell(first)


def test_the_readme_needs_nothing_that_its_install_command_leaves_out(
    run_cell: Callable[[str], dict[str, Any]],
) -> None:
    """`pip install .` alone brings neither pandas nor any other package that is blocked here."""
    run_cell(WITHOUT_EXTRAS)
    first, *others = python_blocks(README)
    run_cell(first)
    with colleague():
        for code in others:
            run_cell(code)


def test_the_api_guide_is_one_session(run_cell: Callable[[str], dict[str, Any]]) -> None:
    for code in python_blocks(API):
        run_cell(code)


@pytest.fixture
def run_cell(home_environ: dict[str, str], kernel) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A cell that must succeed: its outputs by MIME type."""
    with kernel({**home_environ, "PYTHONPATH": os.pathsep.join(map(str, PACKAGES))}) as running:

        def run(code: str) -> dict[str, Any]:
            cell = running.run(code)
            shown = [content["data"] for kind, content in cell.outputs if "data" in content]
            return {mime: data for bundle in shown for mime, data in bundle.items()}

        yield run


# ---- names -------------------------------------------------------------------------------------------


def defined_here(kind: type, stop: type = object) -> set[str]:
    """The public names that ``kind`` has from this project, without those that only override ``stop``'s."""
    return {
        name
        for base in kind.__mro__
        if base.__module__.startswith("bqwidget")
        for name in vars(base)
        if not name.startswith("_") and not hasattr(stop, name)
    }


def test_the_api_guide_names_every_public_name() -> None:
    documented = {
        "room": defined_here(Room, traitlets.HasTraits) | {"name", "user", "keep"},
        "widget": defined_here(ChatWidget, anywidget.AnyWidget) | {"room", "close"},
        "member": defined_here(testing.Member) | {"room"},
        "report": defined_here(Report),
        "poll": defined_here(Poll),
        "out": defined_here(Writer),
        "step": defined_here(StepWriter),
    }
    named = {owner: set(re.findall(rf"`(?:with )?{owner}\.(\w+)", "\n".join(table_rows(API)))) for owner in documented}
    assert named == documented


def test_the_api_guide_names_every_export() -> None:
    for name in (*bqwidget.__all__, "Sending"):
        assert f"`{name}" in API, name
    public = [name for name, value in vars(testing).items() if getattr(value, "__module__", "") == testing.__name__]
    for name in (name for name in public if not name.startswith("_")):
        assert f"`{name}" in API, name


def test_the_signatures_are_those_of_the_code() -> None:
    owners = {"room": Room, "member": testing.Member, "report": Report, "poll": Poll}
    owners |= {"out": Writer, "step": StepWriter}
    checked = set()
    for text, owner, name in SIGNATURE.findall(API):
        if owner == "widget":
            continue
        found = owners[owner] if owner else {**vars(testing), "Room": Room, "ChatWidget": ChatWidget}
        function = getattr(found, name) if owner else found[name]
        printed = ast.parse(f"def f{text[text.index('(') :]}: ...").body[0].args
        assert parameters_of_code(function) == parameters_as_printed(printed), text
        checked.add(f"{owner}.{name}" if owner else name)
    verbs = {f"room.{name}" for name in defined_here(Room) if inspect.isfunction(getattr(Room, name, None))}
    assert verbs - {"room.observe", "room.unobserve"} <= checked


def parameters_of_code(function: Callable[..., object]) -> dict[str, object]:
    named = inspect.signature(function).parameters.values()
    return {
        one.name: ... if isinstance(one.default, type) else one.default
        for one in named
        if one.name not in ("self", "unknown")
    }


def parameters_as_printed(arguments: ast.arguments) -> dict[str, object]:
    """Names to defaults; ``...`` stands for none and for a default that can't be written."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    both = [
        *zip(plain, defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    values = {one.arg: ast.literal_eval(default) if default else ... for one, default in both}
    return values | {one.arg: ... for one in (arguments.vararg, arguments.kwarg) if one}


def test_the_fields_of_a_message_are_those_of_the_protocol() -> None:
    described = API[API.index("A **`Message`**") :].partition("\n\n")[0]
    for struct in (protocol.Message, protocol.Ask, protocol.Part):
        for field in struct.__struct_fields__:
            assert f"`{field}`" in described, field
    members = next(row for row in table_rows(API) if row.startswith("| `room.members`"))
    for struct in (protocol.Member, protocol.Profile):
        for field in struct.__struct_fields__:
            assert f"`{field}`" in members, field


def test_the_errors_and_their_attributes_are_those_of_the_code() -> None:
    rows = {
        row.split("`")[1]: row
        for row in table_rows(API)
        if re.match(r"\| `\w+(Error|Closed|Refused|Timeout|Stopped)`", row)
    }
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.BqwidgetError) and kind is not errors.BqwidgetError
    }
    assert set(rows) == set(kinds)
    for name, kind in kinds.items():
        facts = set(inspect.signature(kind).parameters) - {"message"}
        assert facts == set(re.findall(r"`(\w+)`", rows[name].split("|")[3])) - {"TimeoutError"}, name


def test_every_verb_that_any_guide_names_is_there(home: Path) -> None:
    room = Room("lobby", user="ada", url="http://127.0.0.1:9")
    try:
        for path, guide in GUIDES.items():
            named = set(re.findall(r"\b(?:room|own)\.(\w+)", guide))
            assert {name for name in named if not hasattr(room, name)} == set(), path
    finally:
        room.close()


def test_what_the_guides_import_is_public() -> None:
    for guide in (README, API):
        for module, names in re.findall(r"^from (bqwidget[\w.]*) import (.*)", guide, re.MULTILINE):
            found = {"bqwidget": bqwidget, "bqwidget.testing": testing}[module]
            assert {name.strip() for name in names.split(",")} <= {*dir(found)}


# ---- commands, flags, settings, variables -------------------------------------------------------------


def test_the_flags_are_those_of_the_server() -> None:
    documented = {flag for row in table_rows(SERVER) for flag in re.findall(r"`--([a-z-]+)`", row.split("|")[1])}
    inherited = {*Command().flags, *Command().aliases}
    app = ChatServer()
    assert documented == ({*app.flags, *app.aliases} - inherited) | {"log-level"}


@pytest.mark.parametrize(
    "line",
    sorted(line.partition(" #")[0] for _, line in COMMANDS if line.startswith("bqserver")),
)
def test_the_commands_are_understood(line: str) -> None:
    _, *words = shlex.split(line)
    app: Any = ChatServer()
    while words and words[0] in app.subcommands:
        kind = app.subcommands[words[0]][0]
        app = (traitlets.utils.importstring.import_item(kind) if isinstance(kind, str) else kind)()
        words = words[1:]
    assert check_arguments(app, words) is None


def test_nothing_is_installed_from_an_index() -> None:
    """There is no such package on any index yet: it is installed from a clone."""
    for path, guide in GUIDES.items():
        assert not re.search(r"pip install (?![.\"'])(?!pandas)", guide.replace("pip install .", "")), path


def test_the_extras_are_those_of_the_project() -> None:
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    for guide in GUIDES.values():
        assert set(re.findall(r"pip install \"\.\[(\w+)\]\"", guide)) <= extras


def test_the_limits_are_those_of_the_server() -> None:
    section = SERVER[SERVER.index("### Limits") :].partition("\n## ")[0]
    named = {name for row in table_rows(section) for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {name for name in vars(LimitSettings) if LimitSettings.class_traits(config=True).get(name)} - {
        *("recheck", "retain")
    }
    assert "`c.ChatServer.recheck`" in SERVER
    assert "| `--retain` |" in SERVER


def test_the_routes_are_those_of_the_server() -> None:
    rows = "\n".join(table_rows(SERVER))
    documented = {path.replace("{room}", "lobby") for path in re.findall(r"`(?:GET|POST) (/[^`]*)`", rows)}
    served = [spec.regex for spec in _routes() if "static" not in spec.regex.pattern]
    assert {path for path in documented if not any(pattern.match(path) for pattern in served)} == set()
    assert {pattern.pattern for pattern in served if not any(map(pattern.match, documented))} == set()


def _routes():
    hub = Hub.__new__(Hub)  # the table is read, nothing is served
    authenticator = Authenticator(token=None, is_open=True, clock=lambda: 0.0)
    return routes(AppContext(hub, authenticator, Origins(hosts=[], origins=[])))


def test_the_frames_are_those_of_the_protocol() -> None:
    rows = re.search(r"from the server \|(.*)\|\n\| to the server \|(.*);", SERVER)
    for row, union in zip(rows.groups(), (protocol.ServerFrame, protocol.ClientFrame), strict=True):
        assert set(re.findall(r"`([\w.]+)`", row)) == {frame.__struct_config__.tag for frame in get_args(union)}


def test_the_variables_are_those_of_the_code() -> None:
    documented = set(VARIABLE.findall("\n".join(table_rows(API) + table_rows(SERVER))))
    assert documented == set(VARIABLE.findall(sources("bqwidget", "server")))
    sizes = set(VARIABLE.findall("\n".join(table_rows(TESTS))))
    read = set(re.findall(r"os\.environ\.get\(\"(BQWIDGET_\w+)\"", sources("tests")))
    assert sizes == read - {"BQWIDGET_URL", "BQWIDGET_TOKEN", "BQWIDGET_DATA_DIR", "BQWIDGET_RUNTIME_DIR"}


def test_the_markers_are_those_of_pytest() -> None:
    registered = re.search(r"^markers = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    section = TESTS[TESTS.index("| marker") :].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(
        re.findall(r'^  "(\w+):', registered[1], re.MULTILINE)
    )


# ---- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GUIDES)
def test_the_files_that_a_guide_names_are_there(path: str) -> None:
    guide = GUIDES[path]
    folders = r"bqwidget|server|js|notebooks|tests|\.ci"
    shell = BLOCK.sub(lambda block: "" if block[1] else block[0], guide)
    named = re.findall(rf"(?<![\w/.])((?:{folders})/[\w./-]*\w/?)", shell)
    near = (ROOT / path).parent
    assert [name for name in named if not (ROOT / name).exists() and not (near / name).exists()] == []
    links = re.findall(r"\]\((?!https?:)([^)#]*)(#[\w-]+)?\)", guide)
    for target, anchor in links:
        file = (ROOT / path).parent / target if target else ROOT / path
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", file.read_text(), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_folders_are_those_of_the_code() -> None:
    for guide, heading, folder in (
        (SERVER, "## Where things are", ROOT / "server" / "bqserver"),
        (TESTS, "## Where things are", ROOT / "tests"),
    ):
        section = guide[guide.index(heading) :].partition("\n## ")[0]
        cells = "\n".join(row.split("|")[1] for row in table_rows(section))
        documented = set(re.findall(r"`(?:tests/)?(\w+)/?`", cells))
        assert documented == {
            path.name for path in folder.iterdir() if any(path.glob("*.py")) or any(path.glob("*/*.py"))
        }


@pytest.mark.parametrize("path", GUIDES)
def test_the_pictures_of_a_guide_are_small(path: str) -> None:
    for name in re.findall(r"(?:src|srcset)=\"([^\"]+)\"|!\[[^]]*\]\(([^)]+)\)", GUIDES[path]):
        file = (ROOT / path).parent / next(filter(None, name))
        assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n"), file
        assert file.stat().st_size < MAX_IMAGE_BYTES, file


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES
