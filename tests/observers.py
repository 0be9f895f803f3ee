"""Who hears of training in tests."""

from sigdca.loop import Unobserved


class Noting(Unobserved):
    """Keeps what it hears; `at_epoch` is called with each epoch's figures."""

    def __init__(self, at_epoch=lambda figures: None):
        self.epochs, self.notes = [], []
        self._at_epoch = at_epoch

    def epoch(self, figures):
        self.epochs.append(figures)
        self._at_epoch(figures)

    def note(self, line):
        self.notes.append(line)
