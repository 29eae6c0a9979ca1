"""The sample API of the demonstration in containers: /customers answers api/customers.json, and so on.

Usage: api.py FOLDER [ADDRESS:]PORT. It answers everybody with whole records of invented people.
"""

import pathlib
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = pathlib.Path(sys.argv[1])
ADDRESS, _, PORT = sys.argv[2].rpartition(":")


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        file = FOLDER / f"{path.lstrip('/')}.json"
        # Names of files only: no `.` anywhere, so no way out of the folder.
        found = re.fullmatch(r"(/[a-z0-9-]+)+", path) and file.is_file()
        body = file.read_bytes() if found else b'{"error": "no such thing"}\n'
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Writes no log: request lines hold ids of people."""


server = ThreadingHTTPServer((ADDRESS or "0.0.0.0", int(PORT)), Api)
print(server.server_port, flush=True)
server.serve_forever()
