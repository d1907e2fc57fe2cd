"""What a server does about memory once it is complete."""

from __future__ import annotations

import gc


def keep_for_good() -> None:
    """Say that everything which is there now stays until the process ends.

    Python's collector looks through all that lives long every now and then, within whichever request happens to be
    under way; modules, routes and the policy are most of that, and are never garbage.  What is made later is looked
    after as before.  To be called once, by the process that serves, when its application is made.
    """
    gc.collect()
    gc.freeze()
