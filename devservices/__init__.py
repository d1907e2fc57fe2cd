"""Development stand-ins for third parties: a certification authority, a time-stamping authority, an inbox.

Each of them serves loopback only, warns when it starts and is refused by production settings.  They stand for services
that belong to somebody else, so nothing of the product imports them: the product reaches them over the network.
"""
