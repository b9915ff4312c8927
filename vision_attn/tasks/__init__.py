"""What is learned: model, loss and evaluation in one module."""
