"""Connections with TLS whose handshake has a time of its own.

coredis gives one time to connecting and handshake together. What tells a host that is away from one that is there is that it
does not let anybody connect; a handshake is work for both sides, and on a busy machine all those that are under way take
longer. Cut and begun anew, they would make it busier still, and none would come to its end.
"""

from __future__ import annotations

from typing import cast

from anyio import aclose_forcefully, fail_after
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from coredis.connection import TCPConnection

HANDSHAKE_TIMEOUT = 6.0


class PatientTlsConnection(TCPConnection):
    """coredis' connection, first without TLS."""

    async def _connect(self) -> ByteStream:
        context, self._ssl_context = self._ssl_context, None
        plain = await super()._connect()
        try:
            with fail_after(HANDSHAKE_TIMEOUT):
                stream = await TLSStream.wrap(
                    plain, hostname=self.location.host, ssl_context=context, standard_compatible=False
                )
        except BaseException:
            await aclose_forcefully(plain)
            raise
        return cast(ByteStream, stream)
