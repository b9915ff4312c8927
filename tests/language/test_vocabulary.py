import pytest

from vision_attn.language.vocabulary import END, PAD, SPECIALS, START, UNKNOWN, Vocabulary

CAPTIONS = [["a", "dog", "runs"], ["a", "dog"], ["the", "cat"], ["a", "cat"]]


def test_words_are_numbered_by_frequency_then_alphabet():
    vocabulary = Vocabulary.of(CAPTIONS, 1)
    assert vocabulary.names == (*SPECIALS, "a", "cat", "dog", "runs", "the")
    assert [vocabulary.names[i] for i in (PAD, START, END, UNKNOWN)] == list(SPECIALS)
    assert Vocabulary.of(CAPTIONS, 2).names == (*SPECIALS, "a", "cat", "dog")
    assert len(Vocabulary.of(CAPTIONS, 3)) == 5


def test_encoded_words_end_and_decoding_undoes_it():
    vocabulary = Vocabulary.of(CAPTIONS, 2)
    assert vocabulary.encode(["a", "dog", "sings"]) == [4, 6, UNKNOWN, END]
    assert vocabulary.encode([]) == [END]
    assert vocabulary.decode(vocabulary.encode(["cat", "a"])) == ["cat", "a"]


def test_decoding_stops_at_the_end_and_drops_what_is_no_word():
    vocabulary = Vocabulary.of(CAPTIONS, 1)
    assert vocabulary.decode([START, 4, UNKNOWN, PAD, 6, END, 5, 5]) == ["a", "dog"]
    assert vocabulary.decode([6, 4]) == ["dog", "a"]
    assert Vocabulary(vocabulary.names).encode(["runs"]) == vocabulary.encode(["runs"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "dog"), "must begin with <pad>, <start>, <end>, <unknown>, got"),
        ((*SPECIALS, "a", "dog", "a"), r"every word once, got \['a'\] again"),
        ((*SPECIALS, "<end>"), r"every word once, got \['<end>'\] again"),
    ],
)
def test_wrong_names_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(names)


def test_a_minimum_of_zero_is_refused():
    with pytest.raises(ValueError, match="minimum must be 1 or more occurrences, got 0"):
        Vocabulary.of(CAPTIONS, 0)
