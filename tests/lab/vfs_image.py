"""vfs_image.py REPLICA-URL FILE: what litestream-vfs reads of a replica, as one database file."""

import os
import sys
import urllib.parse

import apsw
import litestream_vfs

extension = os.path.join(os.path.dirname(litestream_vfs.__file__), "litestream-vfs")
loader = apsw.Connection(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
replica = urllib.parse.quote(sys.argv[1], safe=":/")
flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
database = apsw.Connection(f"file:app.db?vfs=litestream&replica_url={replica}", flags=flags)
with open(sys.argv[2], "wb") as file:
    file.write(database.serialize("main"))
# The extension's Go runtime does not survive an orderly end of the interpreter.
os._exit(0)
