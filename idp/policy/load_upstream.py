"""What logins at other identity providers count as."""

from __future__ import annotations

from idp.policy.document import Node
from idp.policy.evidence import CATEGORIES, FACTORS, SELF
from idp.policy.keys import (
    MAPPING_CONDITION_KEYS,
    MAPPING_KEYS,
    MAX_UPSTREAM,
    UPSTREAM_EVIDENCE_KEYS,
    UPSTREAM_FLAGS,
    UPSTREAM_KEYS,
)
from idp.policy.loading import Loading, values
from idp.policy.model import Upstream, UpstreamEvidence, UpstreamMapping
from idp.policy.schema import Fields


class UpstreamLoader:
    """Reads the identity providers that the policy believes."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._read = loading.read

    def upstream(self, node: Node | None) -> tuple[Upstream, ...]:
        """All of them, in the order of the file; none has two entries."""
        return tuple(self._provider(item) for item in self._read.items(node, "upstream", most=MAX_UPSTREAM))

    def _provider(self, node: Node) -> Upstream:
        read = self._read
        fields = read.fields(node, "an upstream provider", UPSTREAM_KEYS)
        issuers = read.texts(fields.get("issuer"), "issuer")
        for issuer in issuers:
            self._loading.once("issuer", issuer.value, issuer.where)
            if issuer.value == SELF:
                read.fault(issuer.where, f"issuer '{SELF}' is this identity provider")
        cap = read.single(fields.get("cap"), "cap")
        return Upstream(
            where=fields.where,
            issuers=values(issuers),
            mappings=tuple(self._mapping(item) for item in read.items(fields.get("mappings"), "mappings")),
            cap=next(iter(self._loading.uses_levels(cap)), ""),
            max_age=read.duration(fields.get("max_age"), "max_age"),
        )

    def _mapping(self, node: Node) -> UpstreamMapping:
        read = self._read
        fields = read.fields(node, "a mapping", MAPPING_KEYS)
        evidence = read.items(fields.get("evidence"), "evidence")
        node_when = fields.get("when")
        when = Fields(fields.where)
        if node_when is not None:
            when = read.fields(node_when, "when", MAPPING_CONDITION_KEYS)
            if not when.values:
                read.fault(when.where, "when has no condition")
        return UpstreamMapping(
            where=fields.where,
            evidence=tuple(self._evidence(item) for item in evidence),
            classes=values(read.texts(when.get("class"), "class")),
            acr=values(read.texts(when.get("acr"), "acr")),
            amr=values(read.texts(when.get("amr"), "amr")),
            attributes=self._loading.attributes(when.get("attribute")),
        )

    def _evidence(self, node: Node) -> UpstreamEvidence:
        read = self._read
        fields = read.fields(node, "evidence", UPSTREAM_EVIDENCE_KEYS)
        return UpstreamEvidence(
            where=fields.where,
            category=read.choice(fields.get("category"), "category", CATEGORIES) or "knowledge",
            factor=read.choice(fields.get("factor"), "factor", tuple(sorted(FACTORS))) or "upstream",
            flags=values(read.texts(fields.get("flags"), "flags", UPSTREAM_FLAGS)),
        )
