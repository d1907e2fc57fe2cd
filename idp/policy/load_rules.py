"""Rules and the conditions under which they apply."""

from __future__ import annotations

from datetime import time
from ipaddress import IPv6Network, ip_address, ip_network

from idp.policy.document import Node
from idp.policy.keys import (
    CLOCK_TIME,
    CONDITION_KEYS,
    CREDENTIAL_KEYS,
    MAX_REQUIREMENTS,
    MAX_RULES,
    NAME,
    NAME_FORM,
    RULE_KEYS,
    TIME_KEYS,
)
from idp.policy.load_levels import LevelLoader
from idp.policy.loading import Loading, one_line, values
from idp.policy.model import DAYS, Condition, CredentialCondition, Network, Rule, TimeCondition
from idp.policy.schema import Text
from idp.policy.zones import ZONES


class RuleLoader:
    """Reads rules."""

    def __init__(self, loading: Loading, levels: LevelLoader) -> None:
        self._loading = loading
        self._read = loading.read
        self._levels = levels

    def rules(self, node: Node | None) -> tuple[Rule, ...]:
        """All of them, in the order of the file."""
        return tuple(self._rule(item) for item in self._read.items(node, "rules", most=MAX_RULES))

    def _rule(self, node: Node) -> Rule:
        read = self._read
        fields = read.fields(node, "a rule", RULE_KEYS)
        name = read.name(fields.get("id"), "id", NAME, NAME_FORM)
        self._loading.once("rule", name, fields.where)
        actions = read.texts(fields.get("action"), "action")
        for action in actions:
            self._check_action(action)
        when = fields.get("when")
        needed = read.items(fields.get("evidence"), "evidence", most=MAX_REQUIREMENTS)
        return Rule(
            where=fields.where,
            id=name,
            actions=tuple(action.value for action in actions),
            require=self._loading.uses_levels(read.texts(fields.get("require"), "require")),
            when=Condition() if when is None else self._condition(when),
            evidence=tuple(self._levels.requirement(item) for item in needed),
            because=one_line(read.text(fields.get("because"), "because")),
        )

    def _check_action(self, action: Text) -> None:
        """A name that is known, or ``<prefix>.*`` over at least one that is."""
        actions = self._loading.actions
        prefix = action.value[:-1] if action.value.endswith(".*") else None
        if prefix is None:
            known = self._loading.knows_action(action.value)
        else:
            known = prefix == "admin." or any(name.startswith(prefix) for name in actions)
        if not known:
            names = ", ".join(sorted(actions))
            self._read.fault(
                action.where,
                f"unknown action '{action.value}'; known are {names}, admin.<name>; declare others under 'actions'",
            )

    def _condition(self, node: Node) -> Condition:
        read = self._read
        fields = read.fields(node, "when", CONDITION_KEYS)
        if not fields.values:
            read.fault(fields.where, "when has no condition")
        credential, clock = fields.get("credential"), fields.get("time")
        networks = (self._network(text) for text in read.texts(fields.get("network"), "network"))
        return Condition(
            clients=values(read.texts(fields.get("client"), "client")),
            groups=values(read.texts(fields.get("group"), "group")),
            credential=None if credential is None else self._credential(credential),
            attributes=self._loading.attributes(fields.get("attribute")),
            networks=tuple(network for network in networks if network is not None),
            time=None if clock is None else self._time(clock),
        )

    def _credential(self, node: Node) -> CredentialCondition:
        read = self._read
        fields = read.fields(node, "credential", CREDENTIAL_KEYS)
        if not fields.values:
            read.fault(fields.where, "credential has no condition")
        return CredentialCondition(
            ids=values(read.texts(fields.get("id"), "id")),
            scal=values(read.texts(fields.get("scal"), "scal", ("1", "2"))),
            qualifiers=values(read.texts(fields.get("qualifier"), "qualifier")),
        )

    def _network(self, text: Text) -> Network | None:
        """An address range; one whose address is not its first is probably a typing error, so it is refused."""
        try:
            found = ip_network(text.value, strict=False)
        except ValueError:
            found = None
        if found is None or "%" in text.value:
            self._read.fault(text.where, f"network '{text.value}' is no range of addresses, such as 192.0.2.0/24")
            return None
        if ip_address(text.value.partition("/")[0]) != found.network_address:
            self._read.fault(text.where, f"network '{text.value}' has bits set beyond its length; it is {found}")
        if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped is not None:
            self._read.fault(text.where, f"network '{text.value}' is written as IPv4; addresses are compared as such")
        return found

    def _time(self, node: Node) -> TimeCondition:
        read = self._read
        fields = read.fields(node, "time", TIME_KEYS)
        if not {"days", "from", "to"} & set(fields.values):
            read.fault(fields.where, "time names neither days nor hours")
        days = values(read.texts(fields.get("days"), "days", DAYS))
        zone = read.text(fields.get("zone"), "zone")
        where = fields.get("zone")
        if where is not None and zone.strip() and zone not in ZONES:
            read.fault(where.where, f"unknown zone '{zone}'; a zone is a name such as Europe/Berlin or UTC")
            zone = ""
        return TimeCondition(
            days=days or frozenset(DAYS),
            start=self._clock(fields.get("from"), "from"),
            end=self._clock(fields.get("to"), "to"),
            zone=zone or "UTC",
        )

    def _clock(self, node: Node | None, what: str) -> time:
        text = self._read.text(node, what)
        match = CLOCK_TIME.fullmatch(text)
        if match is not None:
            return time(int(match[1]), int(match[2]))
        if node is not None and text.strip():
            self._read.fault(node.where, f"{what} '{text}' is not a time of day from 00:00 to 23:59")
        return time(0)
