"""What the loader finds: faults of a file from which no policy can be made."""

from __future__ import annotations

from typing import Final

from idp.policy.lint.model import LintRule

RULES: Final = (
    LintRule(
        id="L12",
        title="A notified eIDAS level is expressed without being claimed",
        why="The URI says that a member state notified the scheme. Where nobody did, it is a false statement.",
        clauses=("(EU) No 910/2014, article 9", "eIDAS SAML Message Format 1.2, 3.2"),
        severity="error",
        advice="use http://eidas.europa.eu/NotNotified/LoA/..., or write 'notified: true' and what that rests on as "
        "'statement'",
    ),
    LintRule(
        id="L15",
        title="Two levels have one class reference",
        why="Whoever receives it cannot know which of the two was reached.",
        clauses=("OIDC Core 2 (acr)", "SAML 2.0 Core, 2.7.2.2 (AuthnContextClassRef)"),
        severity="error",
        advice="give the value to one level, and another value to the other",
    ),
    LintRule(
        id="L16",
        title="The order of levels contradicts itself",
        why="A level that is above itself, or that implies more than it asks for, gives the stronger one away.",
        clauses=("SAML 2.0 Core, 3.3.2.2.1 (Comparison)", "policy language 1, implies"),
        severity="error",
        advice="take out one of the edges, or make the implying level ask for as much as what it implies",
    ),
    LintRule(
        id="L19",
        title="A framework without its edition",
        why="Editions contradict one another: X.1254 has four levels in 2012 and three in 2020, and the two revisions "
        "of NIST SP 800-63B differ in what AAL2 asks for.",
        clauses=("ITU-T X.1254 (09/2012)", "ITU-T X.1254 (09/2020)", "NIST SP 800-63B-3", "NIST SP 800-63B-4"),
        severity="error",
        advice="write the framework with its edition, for example nist-800-63b:r4",
    ),
    LintRule(
        id="L20",
        title="The file is not in the language",
        why="A word that is passed over, or read in two ways, makes a policy that its author did not write.",
        clauses=("policy language 1, How YAML is read", "YAML 1.2.2, 3.2.1.3 (unique keys)"),
        severity="error",
        advice="write it as docs/policy-language.md has it",
    ),
)
