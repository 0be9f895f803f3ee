"""One path for local disk, S3, GCS and HDFS (`store`); a run's ledger; releases."""

from sigdca.storage.ledger import Ledger, Record
from sigdca.storage.releases import Release, Releases
from sigdca.storage.store import Store, beneath, open_store, write_file

__all__ = [
    "Ledger",
    "Record",
    "Release",
    "Releases",
    "Store",
    "beneath",
    "open_store",
    "write_file",
]
