"""The window's schemas of frames and entries (js/src/protocol) fit the structs from which Python encodes them."""

from __future__ import annotations

import re

import msgspec
import pytest
from support.paths import ROOT

from bqwidget import protocol
from bqwidget._client import status

SCHEMA = re.compile(r"([\w.]+)\"?(?:: | = )object\(\{([^{}]*)\}\)")
FIELD = re.compile(r"(\w+): (\w+)")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
STRUCTS: dict[str, type[msgspec.Struct]] = {
    **{f"{name[0].lower()}{name[1:]}Schema": getattr(protocol, name) for name in ("Message", "Change", "Step", "Ask")},
    **{f"{name.lower()}Schema": getattr(protocol, name) for name in ("Progress", "Profile", "Command", "Member")},
    "anchorSchema": protocol.CellAnchor,
    "attachmentSchema": protocol.Part,
    "tableSchema": protocol.Table,
    "limitsSchema": protocol.Limits,
    "errorInfoSchema": protocol.Error,  # also of HTTP and of the comm
    "status": status.Status,
    **{
        str(kind.__struct_config__.tag): kind
        for kind in (*protocol.ServerFrame.__args__, *protocol.Draft.__args__)
        if kind.__struct_config__.tag is not None
    },
}


def schemas() -> dict[str, dict[str, str]]:
    """The fields of each schema in js/src/protocol, with the name of their guard."""
    found = {}
    for path in sorted((ROOT / "js" / "src" / "protocol").glob("*.ts")):
        if path.name not in {"moderation.ts", "rooms.ts"}:  # the answers of two routes, which are no frames
            for name, fields in SCHEMA.findall(COMMENT.sub("", path.read_text())):
                found[name] = dict(FIELD.findall(fields))
    return found


@pytest.mark.parametrize(("name", "fields"), schemas().items(), ids=list(schemas()))
def test_a_schema_of_the_window_fits_its_struct(name: str, fields: dict[str, str]) -> None:
    struct = STRUCTS[name]
    encoded = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    assert set(fields) <= set(encoded), "the window reads a field that the server does not send"
    if struct.__struct_config__.omit_defaults:
        left_out = {key for key, field in encoded.items() if not field.required}
        needed = {key for key, guard in fields.items() if guard not in {"nullish", "optional"}}
        assert needed & left_out == set(), "the window requires a field that the server may leave out"
