"""Data sets, augmentation and the order in which a run reads them."""
