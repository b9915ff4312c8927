"""Results a person looks at: exports, figures, comparisons."""
