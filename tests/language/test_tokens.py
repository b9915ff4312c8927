import os
import shutil
from pathlib import Path

import pytest

from vision_attn.language.tokens import tokens

REAL = Path(
    os.environ.get("VISION_ATTN_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)
SAME = {  # as the treebank tokeniser has it, checked below where Java is present
    "A child in a pink dress is climbing up .": "a child in a pink dress is climbing up",
    "It can't, won't and didn't -- they've left!": "it ca n't wo n't and did n't they 've left",
    "A man's dogs' T-shirt": "a man 's dogs t-shirt",
    "We cannot, they're gonna": "we can not they 're gon na",
    "5 o'clock, ma'am; a 2-year-old": "5 o'clock ma'am a 2-year-old",
    "Mr. Smith of the U.S. near Main St.": "mr. smith of the u.s. near main st.",
    'the letter " P. "': "the letter p.",
    "a slip 'n' slide from the '90s": "a slip 'n' slide from the '90s",
    "at&t and AT&T, R&B, black&white": "at & t and at&t r&b black & white",
    "red,white (and blue)": "red white -lrb- and blue -rrb-",
    "$5.00, 50%, #1, 1,000 at 10:30": "$ 5.00 50 % # 1 1,000 at 10:30",
    "rock-n-roll and/or snow-covered x_y": "rock-n-roll and/or snow-covered x_y",
    "wow!! what?! yes...no": "wow !! what ?! yes no",
    "a `` quoted '' \"word\" - here": "a quoted word here",
    "naïve café": "naïve café",
    "": "",
}
DIFFERENT = {  # ours, and the treebank's
    "plan B. He runs": ("plan b. he runs", "plan b he runs"),
    "a <b>bold</b> sign": ("a < b > bold < / b > sign", "a <b> bold </b> sign"),
    "smile :-)": ("smile -rrb-", "smile :--rrb-"),
    "call (555) 123-4567": ("call -lrb- 555 -rrb- 123-4567", "call -lrb-555-rrb-\u00a0123-4567"),
    "costs £5": ("costs £ 5", "costs # 5"),
    "half ½": ("half ½", "half 1/2"),
    "y'all": ("y all", "y' all"),
}


@pytest.mark.parametrize("text", SAME)
def test_captions_are_split_as_in_the_treebank(text: str):
    assert " ".join(tokens(text)) == SAME[text]


@pytest.mark.parametrize("text", DIFFERENT)
def test_known_differences(text: str):
    assert " ".join(tokens(text)) == DIFFERENT[text][0]


def test_curly_quotes_and_dashes_are_plain_ones():
    text = "a \u201cdog\u2019s\u201d \u2014 \u2018isn\u2019t\u2019 \u2026 one"
    assert tokens(text) == ["a", "dog", "'s", "is", "n't", "one"]


def test_no_token_looks_like_a_special_name():
    assert not {"<pad>", "<start>", "<end>", "<unknown>"} & set(
        tokens("<pad> <start>x<end> <unknown>")
    )


def treebank(texts: list[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    found = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})
    return [found[i][0] for i in range(len(texts))]


needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")


@needs_java
def test_the_treebank_tokeniser_agrees_with_the_tables():
    texts = [text for text in SAME if text]
    assert treebank(texts) == [SAME[text] for text in texts]
    assert treebank(list(DIFFERENT)) == [theirs for _, theirs in DIFFERENT.values()]


@needs_java
def test_real_captions_are_split_as_in_the_treebank():
    file = REAL / "flickr8k" / "Flickr8k.token.txt"
    if not file.exists():
        pytest.skip(f"{file} is not here; set VISION_ATTN_DATA to the folder that has it")
    texts = [line.split("\t")[1] for line in file.read_text().splitlines()]
    ours = [" ".join(tokens(text)) for text in texts]
    different = sum(a != b for a, b in zip(ours, treebank(texts), strict=True))
    assert different <= len(texts) / 2000
