"""From the text of a recipe to checked settings, or to every mistake in it; free of torch."""
