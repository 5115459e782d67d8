"""A web server of the tests' own: a folder on a loopback port that can go away and come back."""

import contextlib
import socket
import threading

from export.site.serve import Handler, Server

POLL_SECONDS = 0.02  # how long a server takes at most to notice that it is to stop


class Host:
    """A server of `folder`, from one request to the next perhaps of another one.

    The port stays this host's while nothing answers there: another server that took it meanwhile
    would answer in its place.
    """

    def __init__(self, folder, handler=Handler):
        self.folder = folder
        self.handler = type("Handler", (Following, handler), {"host": self})
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", 0))
        self.port = self.reserved.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.server = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
        self.reserved.close()

    def start(self):
        """Comes back as it was."""
        self.server = NotingServer(("127.0.0.1", self.port), self.handle)
        threading.Thread(target=self.server.serve_forever, args=[POLL_SECONDS], daemon=True).start()

    def stop(self):
        """As when the network goes: nothing answers, and open connections are gone."""
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        for connection in self.server.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server = None

    def handle(self, *request):
        """Answers one connection."""
        self.handler(*request, directory=str(self.folder))


class Following:
    """Answers each request from the folder that the host has at that time."""

    def answer(self, with_body):
        self.directory = str(self.host.folder)
        return super().answer(with_body)


class NotingServer(Server):
    request_queue_size = 128  # a browser that has to try again does so after a second

    def __init__(self, *arguments):
        self.connections = []
        super().__init__(*arguments)

    def get_request(self):
        accepted = super().get_request()
        self.connections.append(accepted[0])
        return accepted
