"""A service for the self-test: listens on TASK_IP:PORT, answers with its name, healthy or not as told."""

import http.server
import os
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        healthy = not os.path.exists(os.environ.get("SICK_FILE", "/nonexistent"))
        status = 200 if self.path != "/healthz" or healthy else 503
        self._send(status, os.environ.get("NAME", "blue").encode())

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().strip(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(200, body)

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    if os.environ.get("CRASH"):
        sys.exit(3)
    http.server.ThreadingHTTPServer.daemon_threads = True
    address = (os.environ["TASK_IP"], int(os.environ["PORT"]))
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()
