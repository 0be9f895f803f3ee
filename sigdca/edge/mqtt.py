"""Results as MQTT messages, by paho-mqtt."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from typing import Any
from urllib.parse import unquote, urlsplit

from sigdca.edge.said import say
from sigdca.errors import EngineError, JobError

PASSWORD_VARIABLE = "SIGDCA_MQTT_PASSWORD"  # its name; the word itself is nowhere
MAX_OUTSTANDING = 1000  # messages that were not sent yet; beyond, results are lost
_KEEPALIVE_S = 30
_CLOSE_S = 2.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class Mqtt:
    """Publishes each line as a message, without its line end, at quality of service 0.

    `TOPIC/status` is `online`, retained, and becomes `offline` by the broker's own doing when this
    process is gone. A broker that is not there is tried again and again; results are lost
    meanwhile.

    Attributes:
        lost: results that could not be sent.
    """

    def __init__(self, address: str) -> None:
        """Begins to connect.

        Args:
            address: `mqtt://[USER@]HOST[:PORT]/TOPIC`, or `mqtts` for TLS with the system's
                authorities. The password comes from the environment variable
                SIGDCA_MQTT_PASSWORD.

        Raises:
            JobError: the address is none.
            EngineError: paho-mqtt is not installed.
        """
        try:
            from paho.mqtt import client as mqtt
        except ModuleNotFoundError as error:
            raise EngineError(
                "output 'mqtt': paho-mqtt is not installed; pip install 'sigdca[edge]'"
            ) from error
        scheme, host, port, user, self._topic = _parts(address)
        self.lost = 0
        self._published = self._sent = 0
        self._where, self._told = f"{host}:{port}", ""
        self._client = client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_publish = self._on_publish
        if user:
            client.username_pw_set(user, os.environ.get(PASSWORD_VARIABLE))
        if scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context())
        client.reconnect_delay_set(1, 30)
        client.connect_async(host, port, keepalive=_KEEPALIVE_S)
        client.loop_start()

    def put(self, line: bytes) -> None:
        """See `Output.put`."""
        # The client's own queue has no end: a broker that is slow must not fill this board.
        if self._published - self._sent >= MAX_OUTSTANDING:
            self.lost += 1
            return
        info = self._client.publish(self._topic, line.rstrip(b"\n"))
        if info.rc == 0:
            self._published += 1
        else:
            self.lost += 1

    def interrupt(self) -> None:
        """See `Output.interrupt`: nobody is waited for anyhow."""

    def close(self) -> None:
        """See `Output.close`."""
        if self._client.is_connected():
            last = self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True)
            with contextlib.suppress(RuntimeError, ValueError):
                last.wait_for_publish(_CLOSE_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            say(f"mqtt: refused by the broker: {reason}")
            return
        self._told = ""
        self._sent = self._published  # what was on its way when the connection broke is gone
        client.publish(f"{self._topic}/status", "online", qos=1, retain=True)

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        """Says why, once until it changes; paho calls it where it has caught the error."""
        why = _reason(sys.exc_info()[1])
        if why != self._told:
            self._told = why
            say(f"mqtt: {self._where}: {why}; it is tried again, results are lost meanwhile")

    def _on_publish(self, *_: Any) -> None:
        self._sent += 1


def _reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if error is not None else "cannot connect"


def _parts(address: str) -> tuple[str, str, int, str, str]:
    """Scheme, host, port, user and topic."""
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise _wrong(address) from None
    topic = unquote(parts.path.lstrip("/"))
    if (
        not parts.hostname
        or not topic
        or set(topic) & set("#+\0")
        or "#" in address
        or parts.query
    ):
        raise _wrong(address)
    if parts.password is not None:
        raise JobError(
            f"output: no password in an address, which all can see; set {PASSWORD_VARIABLE}"
        )
    return parts.scheme, parts.hostname, port, unquote(parts.username or ""), topic


def _wrong(address: str) -> JobError:
    return JobError(
        f"output must be mqtt://[USER@]HOST[:PORT]/TOPIC or mqtts://..., got '{address}'"
    )
