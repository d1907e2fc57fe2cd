"""The administration's pages: the policy in force and what it decides, relying parties, the audit chain, roles.

=============== ==============================================================
file            what it holds
=============== ==============================================================
setup           puts the pages into an app
changes         what is done when a change was approved
guard           who gets in: the role matrix, then the policy; step-up
source          a file's lines with what there is to say about them
words           levels, rules and decisions as the pages show them
overview        what needs attention
policy          the policy in force, its history
explore         what the policy decides about assumed facts
trial           a candidate file beside the policy in force
clients         relying parties
difference      what differs between two policies
audit           the audit chain, recorded decisions
accounts        a person's state and factors
resets          proposals to reset a person's factors
delivery        how the code of a reset reaches the person
roles           who holds which role; proposals
=============== ==============================================================
"""
