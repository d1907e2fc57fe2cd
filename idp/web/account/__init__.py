"""The person's own pages: what they sign in with, where they are signed in, what they granted, signed up and set.

Whatever is named in an address or a form is looked up among what the signed-in person has: another's is like none.
"""
