"""Where runs lie: one path for local disk, S3, GCS and HDFS (`store`), and the run's ledger."""

from sigdca.storage.ledger import Ledger, Record
from sigdca.storage.store import Store, open_store, write_file

__all__ = ["Ledger", "Record", "Store", "open_store", "write_file"]
