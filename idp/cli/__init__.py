"""The command lines of the identity provider: ``privyseal idp``, ``privyseal account`` and ``privyseal policy``.

Nothing is imported here: the tools for policy files know neither the settings nor a connector.

=============== ==========================================================
file            what it holds
=============== ==========================================================
administration  the parser of ``privyseal idp``, errors to exit codes
common          exit codes, options and output that its commands share
accounts        people
people          ``privyseal account``
people_view     a person's state
people_csv      files of people
people_import   people from a file
progress        how far a long command is
clients         relying parties
keys            tables and signing keys
decisions       recorded decisions
roles           administrators
policy          ``privyseal policy``
=============== ==========================================================
"""
