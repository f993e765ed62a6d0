"""What every document of the API has in common, and how one is drawn as an answer.

Knows:   which fields Docker leaves out when they are empty, and which it then shows as null.
Refuses: to read requests; `engine/api/decode.py` does, by these structs.
Source:  moby api/types, the `json:"...,omitempty"` tags.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import msgspec


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
    if isinstance(value, Document):
        kind = type(value)
        blank = _blank(kind)
        tree: dict[str, Any] = {}
        for name, key in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
            item = getattr(value, name)
            if item == getattr(blank, name):
                if name in kind.omit_empty:
                    continue
                if name in kind.null_empty:
                    item = None
            tree[key] = render(item)
        return tree
    if isinstance(value, dict):
        return {key: render(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(item) for item in value]
    return value


@cache
def _blank(kind: type[Document]) -> Document:
    """One document of a kind with nothing said: what "empty" means for each of its fields."""
    return kind()
