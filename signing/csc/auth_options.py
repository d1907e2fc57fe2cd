"""How a credential can be authorised: mode, expression and objects, in the words of each dialect.

The identity provider says what there is; a web tier that asks nobody says ``oauth2code`` (CSC API 2.0.0.2 8.3, 11.5;
1.0.4.0 11.4).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from signing.errors import SigningError

Mode = Literal["oauth2code", "explicit"]
OUT_OF_BAND: Final = "ChallengeResponseOOB"
"""Nothing is typed: the person decides elsewhere (CSC API 2.0.0.2 8.3.1.5)."""
ObjectType = Literal["Password", "PasswordOOB", "ChallengeResponse", "ChallengeResponseOOB"]
Presence = Literal["true", "false", "optional"]
_TOKEN: Final = re.compile(r"\s*(\(|\)|[A-Za-z0-9_.-]+)")
_OPERATORS: Final = ("OR", "XOR", "AND")
"""Those that bind least first."""
_MOST_OBJECTS: Final = 8


class AuthOptionsInvalid(SigningError):
    """An expression that cannot be read, or that names an object that is not there."""

    code = "auth_options_invalid"


@dataclass(frozen=True, slots=True)
class AuthObject:
    """One authentication object that a person may be asked for (CSC API 2.0.0.2 8.3.1)."""

    type: ObjectType
    id: str
    format: Literal["A", "N"] | None = None
    generator: str | None = None
    """``totp`` where the person's own device makes the value."""
    label: str | None = None
    description: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The members that there are, by the specification's names."""
        members = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in members if value is not None}

    @property
    def one_time(self) -> bool:
        """Whether version 1 calls it an OTP, and not a PIN."""
        return self.type != "Password" or self.generator is not None

    @property
    def online(self) -> bool:
        """Whether the service sends something first."""
        return self.type != "Password"


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """All ways to authorise one credential."""

    mode: Mode = "oauth2code"
    expression: str | None = None
    """Identifiers of objects with AND, OR, XOR and parentheses; None: all objects are needed."""
    objects: tuple[AuthObject, ...] = ()

    def __post_init__(self) -> None:
        names = [item.id for item in self.objects]
        if len(names) > _MOST_OBJECTS or len(set(names)) != len(names):
            raise AuthOptionsInvalid("too many authentication objects, or two of the same name")
        unknown = {token for token in _tokens(self.expression or "") if token not in {"(", ")", *_OPERATORS, *names}}
        if unknown:
            raise AuthOptionsInvalid("the expression names an object that is not there")
        self.satisfied_by(frozenset(names))

    def satisfied_by(self, given: frozenset[str]) -> bool:
        """Whether answers to these objects are enough.

        :raises AuthOptionsInvalid: the expression cannot be read.
        """
        if self.expression is None:
            return given >= {item.id for item in self.objects}
        tokens = list(_tokens(self.expression))
        value = _read(tokens, given, 0)
        if tokens:
            raise AuthOptionsInvalid("the expression goes on after its end")
        return value

    def presence(self, object_id: str, among: Iterable[str]) -> Presence:
        """Whether an object is needed in any case, in none, or in some (CSC API 1.0.4.0 11.4).

        :param among: what can be answered at all; version 1 has no words for further objects.
        """
        others = list(_subsets(name for name in among if name != object_id))
        enough = {subset for subset in others if self.satisfied_by(subset)}
        if not enough:
            return "true"
        helps = any(self.satisfied_by(subset | {object_id}) for subset in others if subset not in enough)
        return "optional" if helps else "false"

    @property
    def pin(self) -> AuthObject | None:
        """What a client of version 1 gives as ``PIN``: the first password that is typed as it is known."""
        return next((item for item in self.objects if not item.one_time), None)

    @property
    def otp(self) -> AuthObject | None:
        """What a client of version 1 gives as ``OTP``: the first value that is good once."""
        return next((item for item in self.objects if item.one_time and item.type != OUT_OF_BAND), None)

    def to_v2(self) -> dict[str, Any]:
        """Member ``auth``.  ``objects`` is there in any case: clients demand the member, and take a null."""
        explicit = self.mode == "explicit"
        return {
            "mode": self.mode,
            "expression": self.expression if explicit else None,
            "objects": [item.to_json() for item in self.objects] if explicit else None,
        }

    def to_v1(self) -> dict[str, Any]:
        """Members ``authMode``, ``PIN`` and ``OTP``; the latter two only where authorisation is explicit.

        ``implicit`` is version 1's word where nothing is typed and the service asks the person by itself.
        """
        if self.mode != "explicit":
            return {"authMode": self.mode}
        if all(item.type == OUT_OF_BAND for item in self.objects):
            return {"authMode": "implicit"}
        return {"authMode": self.mode, "PIN": self._v1(self.pin), "OTP": self._v1(self.otp)}

    def _v1(self, item: AuthObject | None) -> dict[str, Any]:
        if item is None:
            return {"presence": "false"}
        shown = [other.id for other in (self.pin, self.otp) if other is not None]
        answer: dict[str, Any] = {"presence": self.presence(item.id, shown)}
        if item.one_time:
            answer |= {"type": "online" if item.online else "offline", "ID": item.id}
        members = {"format": item.format, "label": item.label, "description": item.description}
        return answer | {name: value for name, value in members.items() if value is not None}


def _subsets(names: Iterable[str]) -> Iterator[frozenset[str]]:
    items = tuple(names)
    sizes = range(len(items) + 1)
    return (frozenset(chosen) for size in sizes for chosen in itertools.combinations(items, size))


def _tokens(expression: str) -> Iterator[str]:
    position = 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise AuthOptionsInvalid("the expression has another character")
        position = match.end()
        yield match.group(1)


def _read(tokens: list[str], given: frozenset[str], level: int) -> bool:
    """Take a whole sub-expression off the front of the tokens."""
    if level == len(_OPERATORS):
        return _operand(tokens, given)
    operator = _OPERATORS[level]
    value = _read(tokens, given, level + 1)
    while tokens and tokens[0] == operator:
        tokens.pop(0)
        other = _read(tokens, given, level + 1)
        value = {"OR": value or other, "XOR": value != other, "AND": value and other}[operator]
    return value


def _operand(tokens: list[str], given: frozenset[str]) -> bool:
    if not tokens:
        raise AuthOptionsInvalid("the expression ends early")
    token = tokens.pop(0)
    if token == "(":
        value = _read(tokens, given, 0)
        if not tokens or tokens.pop(0) != ")":
            raise AuthOptionsInvalid("a parenthesis is not closed")
        return value
    if token in {")", *_OPERATORS}:
        raise AuthOptionsInvalid("an object is expected")
    return token in given


OAUTH2CODE: Final = AuthOptions()
"""Authorisation at the identity provider, and nowhere else."""
