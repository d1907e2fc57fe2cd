"""Octets to be signed for documents, built here from templates: what the web tier says decides nothing but parameters.

One module a format: :mod:`cms` (CAdES, and PAdES with :mod:`pdf`), :mod:`asic`, :mod:`xades`, :mod:`jws`;
:mod:`request` reads what the web tier asks for, :mod:`work` says what the key signs.  Standard library only, and no
parser: every octet that is signed is written here, but the payload of a JWS, which has to give the authorised digest.
The formats begin differently (``0x31``, ``<ds:SignedInfo``, ``ey``), so no octets of one are those of another.
"""
