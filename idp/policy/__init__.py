"""The policy language: which evidence amounts to which level, and which action needs which level.

Pure: a file's octets go in, a :class:`~idp.policy.model.Policy` comes out; a policy and facts go in, a
:class:`~idp.policy.model.Decision` comes out.  Time is an argument.  The language is described in
``docs/policy-language.md``.

=========== ==========================================================
file        what it holds
=========== ==========================================================
evidence    one authenticator used once: the only source of a level
model       a policy
facts       what else goes into an evaluation, and the decision
index       what an evaluation looks up, worked out beforehand
keys        the words of the language: keys, frameworks, actions
document    YAML octets to a tree whose nodes know line and column
schema      readers for the tree's values, collecting faults
load        the tree to a policy; ``load_*`` and ``loading`` are its parts
closure     which frameworks' levels a claim includes
json_schema the language for editors; ``cases_json_schema`` that of cases
zones       time zones, the same on every machine
conditions  whether a rule's condition holds
matching    which evidence meets which requirements
demand      all that must be met at once
request     what a relying party adds to it
options     what a person could add to meet it
reasons     why, in sentences
evaluate    policy and facts to a decision
wording     the same things in words for a person
explain     a decision with its derivation
lint        what the rule books that it names have against a policy
cases       situations with the decision that must come out
records     what is kept of a decision, and back
replay      another policy asked about recorded decisions
diff        how two policies differ, in words
fmt         one layout for files, comments kept
=========== ==========================================================
"""
