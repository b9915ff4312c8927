"""From a caption to its words: split as the Penn Treebank does, lower case, without punctuation."""

import re

BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
"""The treebank's names for brackets; they stay, for the reference scorer keeps them."""
PUNCTUATION = frozenset(".?!,:;-'`\"") | {"--", "''", "``", ""}
"""Tokens that are no words, dots left out; `!!` is none of them, as in the reference scorer."""

_PLAIN = str.maketrans(
    dict.fromkeys("\u2018\u2019", "'")
    | dict.fromkeys("\u201c\u201d\u00ab\u00bb", '"')
    | dict.fromkeys("\u2013\u2014", " -- ")
)
"""Curly quotes and long dashes."""

_TITLES = "mr|mrs|ms|dr|st|mt|ft|jr|sr|ave|blvd|rd|prof|gen|sen|gov|sgt|capt|lt|vs|etc|inc|co"
_RUN = r"[^\W_]+"  # letters and digits
_LETTERS = r"[^\W\d_]+"
_RULES = (
    rf"(?!(?:cannot|gonna|wanna|gotta|lemme|gimme)\b){_LETTERS}(?=\s|$)",  # most words, fast
    r"(?:https?://|www\.)\S+ | [\w.+-]+@[\w-]+\.[\w.-]*\w",  # addresses
    r"(?-i:[A-Z]\.(?=\s|$) | AT&T) | (?:[^\W\d_]\.){2,} | ph\.d\.",  # initials: P. and U.S.
    rf"(?:{_TITLES})\.(?!\w) | no\.(?=\s+\d)",
    r"can(?=not\b) | (?:gon|wan)(?=na\b) | got(?=ta\b) | (?:lem|gim)(?=me\b) | 't(?=(?:is|was)\b)",
    r"'n'(?!\w) | '(?:em|cause|\d0s)\b",
    r"\w+?(?=n't\b) | n't\b | '(?:s|m|d|re|ve|ll)\b",  # did n't, dog 's
    rf"\$(?=\d) | (?:\d+(?:[.,:]\d+)+ | \.\d+)(?:-{_RUN})*",
    rf"(?:o|s|ma|[dl])'{_LETTERS} | {_RUN}(?:[-_/.]{_RUN} | &(?-i:[A-Z]\b))*",  # o'clock, t-shirt
    r"[.\u2026]+ | -- | [!?]+ | \*\*+ | \S",
)
_TOKEN = re.compile("|".join(_RULES), re.VERBOSE | re.IGNORECASE)


def tokens(text: str) -> list[str]:
    """Split a caption into the words that pycocoevalcap's `PTBTokenizer` leaves of it.

    Agrees on every caption of Flickr8k at hand. Elsewhere it differs in what captions rarely have:
    it guesses no end of a sentence (`plan B. He`), and leaves tags, smileys, telephone numbers and
    foreign currencies as they are written.
    """
    found = (match[0].lower() for match in _TOKEN.finditer(text.translate(_PLAIN)))
    return [
        BRACKETS.get(token, token) for token in found if token.strip(".\u2026") not in PUNCTUATION
    ]
