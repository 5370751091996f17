"""The one error of model loading."""


class ModelError(ValueError):
    """A model cannot be used. The text names the file, the cause and the remedy."""


def damaged(where: str, cause: str) -> ModelError:
    """Of a model's text."""
    return ModelError(f"{where}: {cause}; the file is damaged, save or copy the model again")
