"""One path for local disk, S3, GCS and HDFS (`store`); a run's ledger and walk; releases."""

from sigdca.storage.ledger import Ledger, Record, latest_with
from sigdca.storage.releases import Release, Releases
from sigdca.storage.store import Store, beneath, open_store, write_file, writing
from sigdca.storage.walk import Walk

__all__ = [
    "Ledger",
    "Record",
    "Release",
    "Releases",
    "Store",
    "Walk",
    "beneath",
    "latest_with",
    "open_store",
    "write_file",
    "writing",
]
