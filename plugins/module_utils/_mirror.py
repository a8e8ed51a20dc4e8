# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Files below one URL of an HTTP server, asked for from any byte on."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.parse
from collections import namedtuple

from ansible.module_utils.urls import Request

# Without a byte for so long a connection counts as broken, in seconds.
_QUIET_SECONDS = 60
_MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
# Answers that mean "later", beside all of 500 and above (RFC 9110, RFC 6585).
_LATER = (408, 425, 429)
_LONGEST_WAIT = 60  # seconds; a server that wants more is asked again before it likes to

Answer = namedtuple("Answer", ["response", "offset", "size"])
Answer.__doc__ = """What a server began to send: the response to read from, the offset of its first byte, and the size of the whole file in
bytes, ``None`` where it does not say."""


class BrokenError(Exception):
    """The connection broke, or did not come about; it may do so later.

    :ivar wait: how long the server wants to be left alone, in seconds.
    """

    def __init__(self, observed, wait=0):
        super(BrokenError, self).__init__(observed)
        self.wait = wait


class RefusedError(Exception):
    """A mirror that cannot be used, or that does not give a file; to ask again is of no use.

    :ivar observed: what it said.
    :ivar expected: what it should have.
    :ivar remedy: what helps.
    :ivar for_all: whether it will be the same for every other file.
    """

    def __init__(self, observed, expected, remedy, for_all=False):
        super(RefusedError, self).__init__(observed)
        self.observed = observed
        self.expected = expected
        self.remedy = remedy
        self.for_all = for_all


class Mirror(object):
    """A server and the URL below which it has the files.

    Proxies and the logins of ``~/.netrc`` are those of the environment, as for every module of Ansible that fetches something.

    :param base: the URL. ``resolve`` of Hugging Face is one: ``https://huggingface.co/OWNER/NAME/resolve/REVISION/``.
    :param token: sent as a bearer token, to the base's own scheme, host and port alone, wherever that redirects to.
    :param ca: a file with an authority that is trusted beside the system's.
    :raises RefusedError: when the URL or the file is none.
    """

    def __init__(self, base, token="", ca=None):
        parts = _split(base)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise RefusedError(without_login(base), "http:// or https://, a host and a folder", "mend weights_mirror", True)
        if "@" in parts.netloc:
            raise RefusedError(
                "%s: a login in the URL" % without_login(base), "a URL without", "give weights_mirror_token, or a login in ~/.netrc", True
            )
        self._base = base.rstrip("/") + "/"
        self._origin = _origin(base)
        self._token = token
        # open_url would make one for each question, and trust the authority that it is given alone.
        self._context = ssl.create_default_context()
        if ca:
            try:
                self._context.load_verify_locations(cafile=ca)
            except OSError as error:
                raise RefusedError("%s: %s" % (ca, error), "the mirror's authority as PEM", "mend weights_mirror_ca", True) from error

    def size_of(self, path):
        """How large a file is, in bytes; ``None`` where the server does not say.

        :raises BrokenError: when the connection broke.
        :raises RefusedError: when the server does not give the file.
        """
        # Not HEAD, which stores with signed URLs refuse.
        try:
            response = self._ask(path, {"Range": "bytes=0-0"})
        except urllib.error.HTTPError as error:
            if error.code == 416:  # there is no first byte
                error.close()
                return _total(error.headers)
            raise self._meaning(error) from error
        with response:
            return _total(response.headers) if response.status == 206 else response.length

    def open(self, path, offset=0):
        """Ask for a file from ``offset`` on; a server that cannot do that gives it from the beginning.

        :returns: :class:`Answer`; its response is the caller's to close.
        :raises BrokenError: when the connection broke.
        :raises RefusedError: when the server does not give the file.
        """
        try:
            response = self._ask(path, {"Range": "bytes=%d-" % offset} if offset else {})
        except urllib.error.HTTPError as error:
            if error.code == 416 and offset:
                error.close()
                return self.open(path)
            raise self._meaning(error) from error
        if response.status != 206:
            return Answer(response, 0, response.length)
        first = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if not offset or not first or int(first.group(1)) != offset:
            response.close()
            raise RefusedError("another part than it was asked for", "the bytes from %d on" % offset, "use another mirror", True)
        return Answer(response, offset, _total(response.headers))

    def _ask(self, path, headers):
        """Ask for a file and follow to where it is; ``HTTPError`` where the server answers with one."""
        url = self._base + urllib.parse.quote(path)
        for _redirect in range(_MOST_REDIRECTS):
            own = {"Authorization": "Bearer " + self._token} if self._token and _origin(url) == self._origin else {}
            try:
                # Threads share the opener that it installs in urllib, which is the same for all of them.
                return Request().open(
                    "GET",
                    url,
                    headers=dict(headers, **own),
                    timeout=_QUIET_SECONDS,
                    http_agent="flagos-kunlunxin",
                    follow_redirects="none",  # it would hand on no token even to the same host, or any to every host
                    decompress=False,
                    use_netrc=not self._token,  # it would take the token's place
                    context=self._context,
                )
            except urllib.error.HTTPError as error:
                if error.code not in _REDIRECTS:
                    raise
                error.close()
                target = error.filename
            except (OSError, http.client.HTTPException) as error:
                raise self._meaning(error) from error
            if _split(target).scheme not in ("https", self._origin[0]):
                raise RefusedError("a redirect to %s" % _host(target), "one to %s://" % self._origin[0], "use another mirror", True)
            url = target
        raise RefusedError("more than %d redirects" % _MOST_REDIRECTS, "a file", "mend weights_mirror")

    def _meaning(self, error):
        """An exception of urllib as one of ours."""
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            said = "it answered %d %s" % (error.code, error.reason)
            if error.code in _LATER or error.code >= 500:
                return BrokenError(said, _seconds(error.headers.get("Retry-After", "")))
            if error.code in (401, 403, 407):
                return RefusedError(said, "to be let in", "mend weights_mirror_token" if self._token else "give weights_mirror_token", True)
            return RefusedError(said, "the file", "mend weights_mirror, or weights_published where it lists what the mirror has not")
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            said = "%s: %s" % (_host(self._base), reason.verify_message)
            return RefusedError(said, "a certificate of a known authority", "give weights_mirror_ca", True)
        return BrokenError("%s: %s" % (_host(self._base), getattr(reason, "strerror", None) or reason or type(reason).__name__))


def read_into(response, buffer):
    """How many bytes came; 0 at the end.

    :raises BrokenError: when the connection broke.
    """
    try:
        return response.readinto(buffer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BrokenError("the connection broke: %s" % (error or type(error).__name__)) from error


def without_login(url):
    """A URL as it may be shown."""
    return re.sub(r"//[^/]*@", "//", url)


def _split(url):
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # noqa: B018  read, because only then it is looked at
    except ValueError as error:
        raise RefusedError("%s: %s" % (without_login(url), error), "a URL", "mend weights_mirror", True) from error
    return parts


def _origin(url):
    """Scheme, host and port: what a token is for."""
    parts = _split(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _host(url):
    """Scheme and host of a URL; the rest of a redirect's may be a secret."""
    return "%s://%s" % _origin(url)[:2]


def _total(headers):
    """The size of the whole file by a ``Content-Range``; ``None`` where it does not say."""
    total = re.search(r"/(\d+)$", headers.get("Content-Range", ""))
    return int(total.group(1)) if total else None


def _seconds(text):
    """A ``Retry-After``; 0 where it is a date or nothing."""
    return min(int(text), _LONGEST_WAIT) if text.isdigit() else 0
