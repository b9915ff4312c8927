"""Where a network looks, and whether that is true: explainers are functions, metrics too."""
