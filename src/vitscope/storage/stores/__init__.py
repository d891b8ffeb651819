"""Stores: one folder of a run's files, on this disk or under a URL, read and written in the same way.

``store`` what a store can do, and the opening of one · ``disk`` a folder of this machine · ``remote`` any place that
fsspec knows · ``inside`` paths within a store · ``faults`` what is said when the place fails as a whole · ``lock`` one
run at a time · ``lease`` the same where files cannot be locked.
"""

from vitscope.storage.stores.lock import Hold, hold
from vitscope.storage.stores.store import Store, open_store

__all__ = ["Hold", "Store", "hold", "open_store"]
