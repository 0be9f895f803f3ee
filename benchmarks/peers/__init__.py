"""The engines that sigdca is measured against: wheels from PyPI, each in an environment apart.

`install` makes the environments, `models` writes one network in every peer's format, `Peer` runs
one of them in a process of its own, so that peers and sigdca take turns in one run.
"""

from peers.client import PEERS, Peer, PeerError
from peers.install import environment
from peers.models import write_models

__all__ = ["PEERS", "Peer", "PeerError", "environment", "write_models"]
