"""Networks: the table of known ones, a user's own, their weights, and their graph."""

from sigdca.models.build import MODELS, build
from sigdca.models.trace import trace
from sigdca.models.weights import dump_weights, load_weights, save_weights

__all__ = ["MODELS", "build", "dump_weights", "load_weights", "save_weights", "trace"]
