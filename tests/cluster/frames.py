"""What a link carries, byte by byte, as `tcpdump` would see it."""

import errno
import socket
import struct
import threading

ALL_PROTOCOLS = 3
RECEIVE_BUFFER_FORCE = 33  # SO_RCVBUFFORCE
PACKET_LEVEL, STATISTICS = 263, 6
BUFFER_BYTES = 256 << 20  # nothing is lost while this process is busy


class Frames:
    """All frames that this machine sends into a link, from `with` to its end.

    Attributes:
        content: one frame behind the other, with their headers.
        num_lost: frames that came too fast; with any, `content` proves nothing.
    """

    def __init__(self, link):
        """`link`: the name of an interface in the namespace of this process."""
        self._link, self._stop = link, threading.Event()
        self._error = None
        self.content, self.num_lost = b"", 0

    def __enter__(self):
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, BUFFER_BYTES)
        self._socket.bind((self._link, ALL_PROTOCOLS))
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        told = self._socket.getsockopt(PACKET_LEVEL, STATISTICS, 8)
        self.num_lost = struct.unpack("II", told)[1]
        self._socket.close()
        if self._error is not None:
            raise self._error

    def _read(self):
        found = bytearray()
        while True:
            try:
                frame, address = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                if self._stop.is_set():
                    break
                continue
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # the link was cut; it may come back
                    continue
                self._error = error
                return
            if address[2] == socket.PACKET_OUTGOING:
                found += frame
        self.content = bytes(found)
