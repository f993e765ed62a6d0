"""What every document of the API has in common, and how one is drawn as an answer.

Knows:   which fields Docker leaves out when they are empty, and which it then shows as null.
Refuses: to read requests; `engine/api/decode.py` does, by these structs.
Source:  moby api/types, the `json:"...,omitempty"` tags.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import msgspec

# What most fields hold; looked at first, as a list of containers has thousands of them.
_PLAIN = frozenset({str, int, bool, float, type(None)})


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Base of the API's documents: Docker's field names, Go's zero values.

    Attributes:
        omit_empty: attributes that are left out of an answer while they are empty.
        null_empty: lists and maps that an answer shows as null while they are empty.
        text_or_list: attributes where clients may write "text" for ["text"].
    """

    omit_empty: ClassVar[frozenset[str]] = frozenset()
    null_empty: ClassVar[frozenset[str]] = frozenset()
    text_or_list: ClassVar[frozenset[str]] = frozenset()


def render(value: Any) -> Any:
    """Draw a document, or anything that holds documents, as the JSON tree Docker would answer."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Document):
        tree: dict[str, Any] = {}
        for name, key, blank, omitted, shown_null in _fields(type(value)):
            item = getattr(value, name)
            if item == blank:
                if omitted:
                    continue
                if shown_null:
                    item = None
            tree[key] = item if type(item) in _PLAIN else render(item)
        return tree
    if isinstance(value, dict):
        return {key: render(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(item) for item in value]
    return value


@cache
def _fields(kind: type[Document]) -> tuple[tuple[str, str, Any, bool, bool], ...]:
    """Say of each field of a kind: attribute, key, what "empty" is, left out or null when so."""
    blank = kind()
    pairs = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return tuple(
        (name, key, getattr(blank, name), name in kind.omit_empty, name in kind.null_empty)
        for name, key in pairs
    )
