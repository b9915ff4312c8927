"""The mathematics of looking: scores, windows and the attention layer."""
