"""app.py DATABASE: an application that takes an order a second."""

import os
import sqlite3
import sys
import time

os.umask(0o077)
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = NORMAL")
db.execute("CREATE TABLE IF NOT EXISTS orders(id INTEGER PRIMARY KEY, created_at INTEGER, what TEXT)")
while True:
    db.execute("INSERT INTO orders(created_at, what) VALUES (unixepoch(), hex(randomblob(50)))")
    time.sleep(1)
