"""In which language a text for people is given: the one that is asked for, or the nearest that there is, and which."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def lookup(wanted: str | None, available: Collection[str], default: str) -> str:
    """The available tag for a wanted one, cut back from its end until one is there (RFC 4647 3.4).

    :param wanted: None: no wish.
    :param default: what is given where nothing fits.
    """
    tags = {tag.lower(): tag for tag in (*available, default)}
    range_ = (wanted or "").lower()
    while range_:
        if range_ in tags:
            return tags[range_]
        range_, _, last = range_.rpartition("-")
        # A single letter introduces what follows it, and means nothing alone.
        while len(range_.rpartition("-")[2]) == 1 and last:
            range_ = range_.rpartition("-")[0]
    return default


def text(wanted: str | None, texts: Mapping[str, str], default: str) -> tuple[str | None, str]:
    """A text with its language: in the wanted one, or else the default's, or else any there is."""
    if not texts:
        return None, lookup(wanted, (), default)
    fallback = default if default in texts else min(texts)
    tag = lookup(wanted, texts, fallback)
    return texts[tag], tag
