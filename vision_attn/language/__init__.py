"""Captions as words: tokens, a vocabulary, and scores against what people wrote."""
