"""A server on this machine alone, which sends files as a publisher does, or as a bad day has it."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(files: dict[str, bytes], broken: dict[str, int] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serves `files` by name; a name in `broken` is cut off after so many bytes. Yields the address, and the list of what was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            asked.append(name)
            if name not in files:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            self.wfile.write(files[name][: (broken or {}).get(name)])  # the connection is closed then: HTTP/1.0

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()
