"""The public names of the imported code: wire, configuration, Python, and the constants of its sources.

The same code extracts them from a release, into the fixture ``names.json``, and from the present code: it imports only
modules and classes whose names are public. ``observe`` adds the names that servers write and return. ``missing``
compares two results: a missing key, or another value under a key, means that a name was changed.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

Names = dict[str, Any]

CLOSE_CODES = 1001, 1003, 1007, 1009, 1013, 4008, 4029, 4401, 4403, 4404


def missing(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Yields a sentence for each name of ``before`` that ``now`` lacks or changes; names only in ``now`` are allowed."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key, value in before.items():
            if key in now:
                yield from missing(value, now[key], f"{place}/{key}")
            else:
                yield f"{place}/{key} is gone"
    elif isinstance(before, list) and isinstance(now, list):
        yield from (f"{place}: {one} is gone" for one in before if one not in now)
    elif before != now:
        yield f"{place} was {before!r} and is {now!r}"


def declared() -> Names:
    return {
        "frames": frames(),
        "entries": entries(),
        "configuration": configuration(),
        "environment": constants(lambda text: re.fullmatch(r"PORT|(BQ|JUPYTERHUB_)[A-Z_]+", text)),
        "loggers": loggers(),
        "known close codes": [code for code in CLOSE_CODES if code in numbers()],
        "python": python(),
    }


# ---- the wire


def frames() -> Names:
    """By type and direction: the fields, whether they are required, and the values of enumerated ones."""
    from bqwidget import protocol

    sent, accepted = protocol.ServerFrame.__args__, protocol.ClientFrame.__args__
    return {
        "server": {frame.__struct_config__.tag: fields(frame) for frame in sent},
        "client": {frame.__struct_config__.tag: fields(frame) for frame in accepted},
    }


def entries() -> Names:
    from bqwidget import protocol

    kinds = ("Message", "Change", "Ask", "Part", "Table", "Limits", "Member", "Profile", "Post")
    return {kind: fields(getattr(protocol, kind)) for kind in kinds}


def fields(struct: type[msgspec.Struct]) -> Names:
    found: Names = {}
    for field in msgspec.inspect.type_info(struct).fields:
        found[field.encode_name] = given = "required" if field.required else "optional"
        if words := getattr(field.type, "values", None):
            found[field.encode_name] = {given: sorted(words)}
    return found


# ---- configuration


def configuration() -> Names:
    """By command: its aliases, its flags, and the traits of its class with the types of them and their defaults."""
    from bqserver.app import ChatServer
    from bqserver.extension import BqserverExtension

    return {"Jupyter's extension": {"traits": traits(BqserverExtension)}} | commands("bqserver", ChatServer)


def commands(name: str, kind: Any) -> Names:
    from traitlets.utils.importstring import import_item

    app = kind()
    flags = {flag: setting for flag, (setting, _) in app.flags.items()}
    found = {name: {"aliases": dict(app.aliases), "flags": flags, "traits": traits(kind)}}
    for word, (sub, _) in app.subcommands.items():
        found |= commands(f"{name} {word}", import_item(sub) if isinstance(sub, str) else sub)
    return found


def traits(kind: Any) -> Names:
    """Our own traits only: those of traitlets and Jupyter may change with their versions."""
    app = kind()
    ours = {
        name: trait
        for name, trait in kind.class_traits(config=True).items()
        if trait.this_class.__module__.partition(".")[0] == "bqserver"
    }
    return {
        f"{kind.__name__}.{name}": f"{trait_type(trait)}, by default {type(getattr(app, name)).__name__}"
        for name, trait in ours.items()
    }


def trait_type(trait: Any) -> str:
    """traitlets' type, of which ours are kinds with limits of their own."""
    return next(base.__name__ for base in type(trait).__mro__ if base.__module__.startswith("traitlets"))


# ---- Python


def python() -> Names:
    """Public names with their parameters; of our classes only what they add to base classes of other packages."""
    import bqserver.app
    import bqserver.extension
    import bqserver.testing

    import bqwidget.errors
    import bqwidget.local
    import bqwidget.protocol
    import bqwidget.testing

    points = bqserver.extension._jupyter_server_extension_points()
    with bqserver.testing.running_server(open=True) as server:
        room = bqwidget.Room("lobby", user="ada", url=server.url)
        widget = bqwidget.ChatWidget(room)
        try:
            instances = {
                "Room": sorted(name for name in vars(room) if name[0] != "_"),
                "ChatWidget": [name for name in vars(widget) if name == "room"],
                "RunningServer": [name for name in dir(server) if name[0] != "_"],
            }
        finally:
            widget.close()
            room.close()
    return {
        "bqwidget": sorted(bqwidget.__all__),
        "bqwidget.Room": members(bqwidget.Room),
        "bqwidget.ChatWidget": members(bqwidget.ChatWidget),
        "attributes": instances,
        "bqwidget.errors": {
            name: [base.__name__ for base in kind.__mro__[1:]] for name, kind in own(bqwidget.errors, type)
        },
        "error arguments": {name: parameters(kind) for name, kind in own(bqwidget.errors, type)},
        "bqwidget.protocol": {
            "classes": [name for name, _ in own(bqwidget.protocol, type)],
            "functions": {name: parameters(one) for name, one in own(bqwidget.protocol, type(frames))},
            "constants": sorted(
                name for name in vars(bqwidget.protocol) if re.match(r"MAX_|SUBPROTOCOL|ROOM_NAME|TABLE$|IMAGES", name)
            ),
        },
        "bqwidget.testing": {
            name: parameters(one)
            for name, one in vars(bqwidget.testing).items()
            if name in ("Member", "private_server", "scripted_room")
        }
        | {"Member's": members(bqwidget.testing.Member)},
        "bqwidget.local": {"find_or_start": parameters(bqwidget.local.find_or_start)},
        "bqserver.testing": {"running_server": parameters(bqserver.testing.running_server)},
        "bqserver.app": {"main": parameters(bqserver.app.main)},
        "bqserver.extension": [{**point, "app": point["app"].__name__} for point in points],
    }


def own(module: Any, kind: type) -> list[tuple[str, Any]]:
    """Public classes or functions that are defined in the module's own package."""
    package = module.__name__.partition(".")[0]
    return sorted(
        (name, value)
        for name, value in vars(module).items()
        if isinstance(value, kind) and name[0] != "_" and value.__module__.partition(".")[0] == package
    )


def members(kind: type) -> Names:
    theirs = {name for base in kind.__mro__ if base.__module__.partition(".")[0] != "bqwidget" for name in vars(base)}
    found = {}
    for name in dir(kind):
        if name[0] != "_" and name not in theirs:
            value = inspect.getattr_static(kind, name)
            found[name] = parameters(value) if callable(value) else "attribute"
    return found


def parameters(function: Callable[..., object]) -> Names:
    """By name: the parameter's kind, its position if it can be positional, and whether it is required."""
    found = {}
    try:
        accepted = inspect.signature(function).parameters
    except ValueError:  # an exception that defines no arguments
        return {}
    for place, (name, one) in enumerate(accepted.items()):
        if name == "self":
            continue
        position = f" {place}" if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) else ""
        found[name] = f"{one.kind.description}{position}, {'required' if one.default is one.empty else 'optional'}"
    return found


# ---- the sources


@cache
def sources() -> list[ast.AST]:
    """Every node of the product's syntax trees."""
    import bqserver

    import bqwidget

    folders = [Path(package.__file__ or "").parent for package in (bqserver, bqwidget)]
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]


def constants(wanted: Callable[[str], object] = bool) -> list[str]:
    """The string constants of the product's sources."""
    texts = {one.value for one in sources() if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return sorted(filter(wanted, texts))


def numbers() -> set[int]:
    return {one.value for one in sources() if isinstance(one, ast.Constant) and isinstance(one.value, int)}


def loggers() -> list[str]:
    found = set()
    for node in sources():
        match node:
            case ast.Call(func=ast.Attribute(attr="getLogger"), args=[ast.Constant(value=str(name))]):
                found.add(name)
    return sorted(found)


def keys_of(value: Any, place: str = "") -> set[str]:
    """The keys of a JSON value, each with the keys above it, joined by dots."""
    if isinstance(value, list):
        return {key for one in value for key in keys_of(one, place)}
    if not isinstance(value, dict):
        return set()
    return {key for name, one in value.items() for key in {f"{place}{name}", *keys_of(one, f"{place}{name}.")}}
