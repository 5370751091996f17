"""The one error of training."""


class TrainingError(ValueError):
    """Something cannot be learned from; the text says what was found and what to do."""
