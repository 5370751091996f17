"""The one error of model loading."""


class ModelError(ValueError):
    """A model cannot be used. The text names the file, the cause and the remedy."""
