"""pager.py HOST:PORT: keeps the alerts that Alertmanager sends, and lists them, the newest first.

A line is: when it came, at which path, firing or resolved, the alert's name, the database, the summary.
"""

import http.server
import json
import sys
import time

told = []


class Pager(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        now = time.strftime("%H:%M:%S")
        for alert in message["alerts"]:
            labels, summary = alert["labels"], alert["annotations"].get("summary", "")
            line = [now, self.path, alert["status"], labels["alertname"], labels.get("database", "-"), summary]
            told.insert(0, " ".join(line))
            print(told[0], flush=True)
        # Enough to see what happened.
        del told[1000:]
        self.answer("")

    def do_GET(self):
        self.answer("".join(line + "\n" for line in told))

    do_HEAD = do_GET

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


host, port = sys.argv[1].rsplit(":", 1)
http.server.ThreadingHTTPServer((host, int(port)), Pager).serve_forever()
