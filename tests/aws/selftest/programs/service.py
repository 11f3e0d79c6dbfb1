"""A service for the self-test: listens on TASK_IP:PORT, answers with its name, healthy or not as told.

HTTP by hand, as dozens of these start in a second and importing a server takes longer than all the rest.
"""

import os
import socket
import sys
import threading


def serve(connection):
    """Requests until the client ends."""
    with connection, connection.makefile("rwb") as stream:
        while line := stream.readline():
            method, path, _ = line.decode().split()
            fields = {}
            while field := stream.readline().strip():
                name, _, value = field.decode("latin-1").partition(":")
                fields[name.lower()] = value.strip()
            healthy = path != "/healthz" or not os.path.exists(os.environ.get("SICK_FILE", "/nonexistent"))
            body = b"" if method == "GET" else read(stream, fields)
            told = os.environ.get("NAME", "blue").encode() if method == "GET" else body
            status = "200 OK" if healthy else "503 Unavailable"
            stream.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(told)}\r\n\r\n".encode() + told)
            stream.flush()
            if fields.get("connection") == "close":
                return


def read(stream, fields):
    """A request's body."""
    if fields.get("transfer-encoding") != "chunked":
        return stream.read(int(fields.get("content-length", 0)))
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


def main():
    if os.environ.get("CRASH"):
        sys.exit(3)
    with socket.create_server((os.environ["TASK_IP"], int(os.environ["PORT"])), backlog=64) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
