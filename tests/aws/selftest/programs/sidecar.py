"""A service for the self-test that answers with what its task's endpoints tell it, and hands requests on to them."""

import http.server
import os
import urllib.error
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        variable, _, rest = self.path.lstrip("/").partition("/")
        if variable == "healthz":
            self._send(200, b"")
            return
        self._ask(urllib.request.Request(os.environ[variable] + (f"/{rest}" if rest else "")))

    def do_PUT(self):
        variable, _, rest = self.path.lstrip("/").partition("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._ask(urllib.request.Request(f"{os.environ[variable]}/{rest}", body, method="PUT"))

    def _ask(self, request):
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                self._send(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self._send(error.code, error.read())

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    address = (os.environ["TASK_IP"], int(os.environ["PORT"]))
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()
