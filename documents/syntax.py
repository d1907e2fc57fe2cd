"""Objects of a PDF that is whole in memory, read token by token and not octet by octet (ISO 32000-2 7.3).

pyHanko reads one octet at a time.  Here a regular expression finds the next token where it stands in its usual form:
exactly then what it means is made of it, as pyHanko would.  Every other token is read by pyHanko itself, from where it
begins: whatever is unusual, or wrong, is what it says, and there is nothing that only one of the two accepts.
"""

from __future__ import annotations

import os
import re
from binascii import unhexlify
from io import BytesIO
from typing import Any, Final

from pyhanko.pdf_utils import generic, misc
from pyhanko.pdf_utils.reader import PdfFileReader

_NORMAL: Any = generic.DictionaryObject.read_from_stream
_READ: Any = generic.read_object
_PAYLOAD: Any = generic._maybe_read_stream_payload
_NOT_CONTENT: Final = generic.ContentOpReading.NO
_NAME: Any = generic.NameObject
_INTEGER: Any = generic.NumberObject
_REAL: Any = generic.FloatObject
_REFERENCE: Any = generic.IndirectObject
_STREAM: Any = generic.StreamObject
_DICTIONARY: Any = generic.DictionaryObject
_ARRAY: Any = generic.ArrayObject
_BOOLEAN: Any = generic.BooleanObject
_READER: Any = PdfFileReader
_SKIPPED: Any = misc.read_non_whitespace
"""Partly typed: met here alone."""
_BLANKS: Final = re.compile(rb"[\0\t\n\f\r ]*")
_TOKEN: Final = re.compile(
    rb"""[\0\t\n\f\r ]*(?:
      (/[!"$&'*-.0-;=?-Z\\^-z|~]*)(?=[\0\t\n\f\r ()<>\[\]{}/%])        # 1: a name without escapes
    | ([1-9][0-9]{0,8})[ ]([0-9]{1,5})[ ]R(?=[\0\t\n\f\r <>\[\]/])     # 2, 3: a reference
    | ([+-]?[0-9]{1,9})(?=[\0\t\n\f\r ()<>\[\]/])(?!\s+[0-9]+\s+R)     # 4: an integer that begins no reference
    | ([+-]?[0-9]{1,9}\.[0-9]{1,9})(?=[\0\t\n\f\r ()<>\[\]/])          # 5: a real number
    | (<<) | (>>) | (\[) | (\])                                        # 6 to 9
    | \(([^()\\]*)\)                                                   # 10: a string without escapes and parentheses
    | <([0-9A-Fa-f]*)>                                                 # 11: a string in hexadecimal
    | (true|false|null)(?=[\0\t\n\f\r ()<>\[\]/])                      # 12
    )""",
    re.VERBOSE,
)
_HEAD: Final = re.compile(rb"([0-9]{1,9}) ([0-9]{1,5}) obj[\0\t\n\f\r ]*<<")
"""Of an indirect object that is a dictionary or stream (7.3.10)."""
_END: Final = re.compile(rb"[\0\t\n\f\r ]*endobj[\0\t\n\f\r ]*[^\0\t\n\f\r %]")
"""With something behind it: where there is nothing, pyHanko says what it thinks of that."""
_IS_NAME, _IS_REFERENCE, _IS_INTEGER, _IS_REAL, _IS_DICTIONARY, _IS_DICTIONARY_END = 1, 3, 4, 5, 6, 7
_IS_ARRAY, _IS_ARRAY_END, _IS_STRING, _IS_HEXADECIMAL, _IS_WORD = 8, 9, 10, 11, 12


class Document(BytesIO):
    """A document's octets as a stream; in all others dictionaries are read as ever."""

    def __init__(self, octets: bytes) -> None:
        super().__init__(octets)
        self.octets = octets

    def close(self) -> None:
        """Let go of the octets: whoever reads from this stream refers to itself, and stays for a while."""
        self.octets = b""
        super().close()


class Reader(_READER):  # type: ignore[misc] # partly typed
    """pyHanko's reader of a document, from the document itself."""

    trailer: Any = None
    """Its own is there when the tables were read."""

    def __init__(self, document: Document, **options: Any) -> None:
        self._whole = document
        self._is_open: bool | None = None
        super().__init__(document, **options)

    def _read_object(
        self,
        ref: Any,
        marker: Any,
        never_decrypt: bool = False,
        as_metadata_stream: bool = False,
    ) -> Any:
        if isinstance(marker, int) and not as_metadata_stream and self._is_readable():
            found = self._object_at(ref, marker)
            if found is not None:
                return found
        return super()._read_object(ref, marker, never_decrypt, as_metadata_stream)

    def _is_readable(self) -> bool:
        """Whether all tables were read, and nothing is encrypted."""
        if self._is_open is None and self.trailer is not None:
            self._is_open = "/Encrypt" not in self.trailer
        return bool(self._is_open)

    def _object_at(self, reference: Any, start: int) -> Any:
        """The object, where it begins and ends in the usual form; else None."""
        octets = self._whole.octets
        head = _HEAD.match(octets, start) if start >= 0 else None
        if head is None or (int(head[1]), int(head[2])) != (reference.idnum, reference.generation):
            return None
        container = generic.Reference(reference.idnum, reference.generation, self)
        found, place = _Objects(self._whole, container).dictionary(head.end())
        if _END.match(octets, place) is None:
            return None
        found.container_ref = container
        found.extent = (head.end() - 2, place)
        return found


def _read_from_stream(
    stream: Any,
    container_ref: Any,
    as_metadata_stream: bool = False,
    in_content_stream: Any = _NOT_CONTENT,
) -> Any:
    """``DictionaryObject.read_from_stream`` of pyHanko."""
    if not isinstance(stream, Document) or as_metadata_stream or in_content_stream:
        return _NORMAL(stream, container_ref, as_metadata_stream, in_content_stream)
    begin = stream.tell()
    if stream.octets[begin : begin + 2] != b"<<":
        return _NORMAL(stream, container_ref)
    found, place = _Objects(stream, container_ref).dictionary(begin + 2)
    found.extent = (begin, place)
    stream.seek(place)
    return found


def extent_of(found: Any) -> tuple[int, int] | None:
    """Where in the document a dictionary stands that is an object of its own; None: it was read otherwise."""
    extent: tuple[int, int] | None = getattr(found, "extent", None)
    return extent


class _Objects:
    """What one object of a document is made of."""

    __slots__ = ("_container", "_handler", "_octets", "_stream")

    def __init__(self, stream: Document, container: Any) -> None:
        self._stream = stream
        self._octets = stream.octets
        self._container = container
        self._handler = container.get_pdf_handler()

    def dictionary(self, place: int) -> tuple[Any, int]:
        """A dictionary or stream, and where it ends.

        :param place: behind the brackets.
        """
        entries: dict[Any, Any] = {}
        while True:
            token = _TOKEN.match(self._octets, place)
            kind = None if token is None else token.lastindex
            if token is not None and kind == _IS_NAME:
                key, place = _NAME(token[1].decode("ascii")), token.end()
            elif token is not None and kind == _IS_DICTIONARY_END:
                place = token.end()
                break
            else:
                key, place = self._other_key(place)
                if key is None:
                    break
            value, place = self._value(place)
            if key not in entries:
                entries[key] = value
            elif self._handler.strict:
                raise misc.PdfStrictReadError("Multiple definitions in dictionary")
        return self._with_payload(entries, place)

    def _other_key(self, place: int) -> tuple[Any, int]:
        """A key in another form, or None for the dictionary's end."""
        stream = self._at(place)
        if _SKIPPED(stream) == b">":
            stream.read(1)
            return None, stream.tell()
        stream.seek(-1, os.SEEK_CUR)
        try:
            key = _NAME.read_from_stream(stream)
        except Exception as error:
            raise misc.PdfReadError("Failed to read dictionary key; expected PDF name") from error
        return key, stream.tell()

    def _with_payload(self, entries: dict[Any, Any], place: int) -> tuple[Any, int]:
        begin = _BLANKS.match(self._octets, place)
        payload = None
        if begin is None or self._octets[begin.end() : begin.end() + 1] in {b"s", b"%", b""}:
            stream = self._at(place)
            payload = _PAYLOAD(stream, entries, self._handler)
            place = stream.tell()
        found = _DICTIONARY() if payload is None else _STREAM(encoded_data=payload)
        # Past its own copy, which looks at each key: they are names.
        dict.update(found, entries)
        return found, place

    def _array(self, place: int) -> tuple[Any, int]:
        found = _ARRAY()
        while True:
            token = _TOKEN.match(self._octets, place)
            if token is not None and token.lastindex == _IS_ARRAY_END:
                return found, token.end()
            if token is None and (end := self._other_end(place)) is not None:
                return found, end
            value, place = self._value(place)
            found.append(value)

    def _other_end(self, place: int) -> int | None:
        """Behind an array's end that a comment stands before; None: it is not there."""
        stream = self._at(place)
        return stream.tell() if _SKIPPED(stream) == b"]" else None

    def _value(self, place: int) -> tuple[Any, int]:
        """The next object, and where it ends."""
        token = _TOKEN.match(self._octets, place)
        if token is None:
            return self._other_value(place)
        kind, place = token.lastindex, token.end()
        if kind == _IS_NAME:
            found = _NAME(token[1].decode("ascii"))
        elif kind == _IS_REFERENCE:
            found = _REFERENCE(int(token[2]), int(token[3]), self._handler)
        elif kind == _IS_INTEGER:
            found = _INTEGER(token[4])
        elif kind == _IS_ARRAY:
            found, place = self._array(place)
        elif kind == _IS_DICTIONARY:
            found, place = self.dictionary(place)
        elif kind == _IS_REAL:
            found = _REAL(token[5].decode("ascii"))
        elif kind == _IS_STRING:
            found = generic.pdf_string(token[10])
        elif kind == _IS_HEXADECIMAL:
            found = generic.pdf_string(unhexlify(token[11] + b"0" * (len(token[11]) % 2)))
        elif kind == _IS_WORD:
            found = generic.NullObject() if token[12] == b"null" else _BOOLEAN(token[12] == b"true")
        else:
            return self._other_value(token.start())
        found.container_ref = self._container
        return found, place

    def _other_value(self, place: int) -> tuple[Any, int]:
        """An object in another form, or what is none."""
        stream = self._at(place)
        _SKIPPED(stream, seek_back=True)
        return _READ(stream, self._container), stream.tell()

    def _at(self, place: int) -> Document:
        self._stream.seek(place)
        return self._stream


# pyHanko looks it up there wherever it reads a dictionary: objects, tables that are streams, trailers.
generic.DictionaryObject.read_from_stream = staticmethod(_read_from_stream)  # type: ignore[method-assign] # the same parameters
