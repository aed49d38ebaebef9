"""Options that a stream needs besides its defaults: the facts of a file, of small images."""

from __future__ import annotations

from trainables.streams.own_file import FileFacts

FACTS = FileFacts("0123abcd", 10, (8, 8), "uint8", (0.3,), (0.4,), 0.0, 1.0)
NEEDED = {"split_file": {"contents": FACTS.text()}}
