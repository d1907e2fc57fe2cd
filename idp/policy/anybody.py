"""What a policy asks of whoever it may be, remembered.

A sign-in page says what will be asked for and why, before it is known who is there.  Nobody in particular has no
evidence: no age is looked at, so the decision follows from the rules that apply and from what the request asks for,
whenever it is asked.  What is remembered is therefore exact; which rules apply (network, client, time of day) is worked
out every time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from idp.policy.errors import FactsInvalid
from idp.policy.evaluate import applying, decide
from idp.policy.model import Decision, Facts, Policy

_MOST: Final = 256


class Anybody:
    """Decisions about nobody in particular, under the policy that was asked last; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._policy: Policy | None = None
        self._found: OrderedDict[tuple[object, ...], Decision] = OrderedDict()

    def decide(self, policy: Policy, facts: Facts) -> Decision:
        """What :func:`idp.policy.evaluate.evaluate` says.

        :raises FactsInvalid: they are somebody's: there is evidence, or it is said who or which credential it is about.
        """
        if facts.evidence or facts.groups or facts.attributes or facts.credential is not None:
            raise FactsInvalid("nobody in particular has no evidence, groups, attributes or credential")
        clauses = applying(policy, facts)
        key = (
            facts.action,
            tuple([clause.rule.id for clause in clauses]),
            facts.proofing,
            facts.transaction is None,
            facts.acr_values,
            facts.essential_acr,
            facts.max_age,
            facts.force_reauthentication,
            facts.enrolled,
        )
        with self._lock:
            if policy is not self._policy:
                self._policy = policy
                self._found.clear()
            found = self._found.get(key)
        return self._keep(policy, key, decide(policy, facts, clauses)) if found is None else found

    def _keep(self, policy: Policy, key: tuple[object, ...], found: Decision) -> Decision:
        with self._lock:
            if policy is self._policy:
                self._found[key] = found
                if len(self._found) > _MOST:
                    self._found.popitem(last=False)
        return found
