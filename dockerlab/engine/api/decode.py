"""Read a request's JSON the way Go does, into our documents.

Knows:   null means "not said", keys match in any case, numbers end at int64, unknown is ignored.
Refuses: to judge values; it only sees to it that they have the types of the document.
Source:  Go encoding/json; moby daemon/server/httputils/httputils.go ReadJSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import Document

T = TypeVar("T", bound=msgspec.Struct)
_Pass = Callable[[Any], Any]

_INT64 = range(-(2**63), 2**63)
_PROBLEM = re.compile(
    r"Expected `(?P<want>[^`]+)`, got `(?P<got>[^`]+)`(?: - at `\$\.?(?P<at>.*)`)?"
)
_GO_VALUES = {"str": "string", "int": "number", "float": "number", "bool": "bool"}
_GO_TYPES = {"str": "string", "int": "int64", "bool": "bool", "array": "[]string", "object": "map"}


def check_content_type(content_type: str, *, has_body: bool) -> None:
    """Refuse a body that does not call itself JSON; no body needs no content type.

    Raises:
        InvalidRequest: in Docker's words.
    """
    if not content_type and not has_body:
        return
    kind = content_type.partition(";")[0].strip().lower()
    if not kind:
        raise InvalidRequest("malformed Content-Type header (): mime: no media type")
    if not re.fullmatch(r"[\w!#$&^.+-]+(?:/[\w!#$&^.+-]+)?", kind):
        raise InvalidRequest(
            f"malformed Content-Type header ({content_type}): mime: expected slash after first "
            "token"
        )
    if kind != "application/json":
        raise InvalidRequest(
            f"unsupported Content-Type header ({content_type}): must be 'application/json'",
            hint="Send Content-Type: application/json",
        )


def decode(raw: bytes, kind: type[T]) -> T:
    """Read one JSON document; an empty body is the caller's to allow.

    Raises:
        InvalidRequest: malformed, empty, followed by more, or of the wrong types.
    """
    return convert(parse(raw), kind)


def parse(raw: bytes) -> Any:
    """Read JSON into plain values, with Docker's words for what is wrong."""
    if not raw.strip():
        raise InvalidRequest("invalid JSON: got EOF while reading request body")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        if "trailing characters" in text:
            raise InvalidRequest("unexpected content after JSON") from error
        if "truncated" in text:
            raise InvalidRequest("invalid JSON: unexpected EOF") from error
        raise InvalidRequest(f"invalid JSON: {text}") from error
    except RecursionError as error:
        raise InvalidRequest("invalid JSON: exceeded max depth") from error


def convert(tree: Any, kind: type[T]) -> T:
    """Turn plain values into a document."""
    try:
        return msgspec.convert(_struct_pass(kind)({} if tree is None else tree), kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid JSON: {_in_go_words(str(error), kind)}") from error


def _in_go_words(text: str, kind: type) -> str:
    match = _PROBLEM.match(text)
    if match is None:
        return text
    got = _GO_VALUES.get(match["got"], match["got"])
    wanted = match["want"].partition(" |")[0]
    where = f"struct field {kind.__name__}.{match['at']}" if match["at"] else "value"
    return f"json: cannot unmarshal {got} into Go {where} of type {_GO_TYPES.get(wanted, wanted)}"


def _number(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        raise InvalidRequest(
            f"invalid JSON: json: cannot unmarshal number {value} into Go value of type int64"
        )
    return value


@cache
def _struct_pass(kind: type) -> _Pass:
    """The pass over one struct's object, made once from the struct's own fields."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    lists = kind.text_or_list if issubclass(kind, Document) else frozenset()
    fields = {
        field.encode_name.lower(): (field.encode_name, _pass_for(field.type), field.name in lists)
        for field in info.fields
    }

    def over(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        result: dict[str, Any] = {}
        for key, item in value.items():
            known = fields.get(key.lower())
            if known is None or item is None:
                continue
            name, inner, text_or_list = known
            result[name] = inner([item] if text_or_list and isinstance(item, str) else item)
        return result

    return over


def _pass_for(kind: inspect.Type) -> _Pass:
    over: _Pass = lambda value: value  # noqa: E731 - the base case of a table of functions
    match kind:
        case inspect.IntType():
            over = _number
        case inspect.StructType(cls=cls):
            over = _struct_pass(cls)
        case inspect.UnionType(types=types):
            over = _pass_for(next(item for item in types if not isinstance(item, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            over = _list_pass(item)
        case inspect.TupleType(item_types=items):
            over = _array_pass(items)
        case inspect.DictType(value_type=item):
            over = _map_pass(item)
    return over


def _list_pass(item_type: inspect.Type) -> _Pass:
    inner, zero = _pass_for(item_type), _zero(item_type)

    def over(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [zero() if item is None else inner(item) for item in value]

    return over


def _array_pass(item_types: tuple[inspect.Type, ...]) -> _Pass:
    """Go's arrays: too short is filled up, too long is cut."""
    length, inner, zero = len(item_types), _list_pass(item_types[0]), _zero(item_types[0])

    def over(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return inner(value[:length]) + [zero() for _ in range(length - len(value))]

    return over


def _map_pass(item_type: inspect.Type) -> _Pass:
    inner, zero = _pass_for(item_type), _zero(item_type)

    def over(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: zero() if item is None else inner(item) for key, item in value.items()}

    return over


def _zero(kind: inspect.Type) -> Callable[[], Any]:
    """What Go has in a list or map where JSON says null."""
    match kind:
        case inspect.StrType():
            return str
        case inspect.IntType():
            return int
        case inspect.BoolType():
            return bool
        case inspect.VarTupleType():
            return list
        case inspect.DictType() | inspect.StructType():
            return dict
        case _:
            return lambda: None
