# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Ask a container registry, as a host sees it, whether its certificate is trusted and its password right.

The standard library alone: the question is asked before any engine is there. Both challenges of the
distribution specification are answered, Basic and Bearer (the token server of the larger registries).
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections import namedtuple

ANSWER_SECONDS = 15

OK = "ok"
UNKNOWN_CA = "unknown_ca"
BAD_CERTIFICATE = "bad_certificate"
MISSING_PASSWORD = "missing_password"  # noqa: S105  a state
WRONG_PASSWORD = "wrong_password"  # noqa: S105  a state
UNREACHABLE = "unreachable"

Outcome = namedtuple("Outcome", "state detail")
Outcome.__doc__ = """What a registry answered: one of the states of this module and, but for OK, its own words."""


def registry_of(reference):
    """The registry's HOST[:PORT] of an image reference; None for the engine's default registry.

    The rule is the engine's own: the first component is a registry when it has a dot or a colon or is ``localhost``.
    """
    first, separator, _rest = (reference or "").partition("/")
    return first if separator and ("." in first or ":" in first or first == "localhost") else None


def parse_challenge(header):
    """A WWW-Authenticate header as ``(scheme in lower case, {parameter: value})``."""
    scheme, _blank, rest = (header or "").partition(" ")
    return scheme.lower(), dict(re.findall(r'(\w+)="([^"]*)"', rest))


def basic(username, password):
    """The value of a Basic Authorization header, which is also what the engine keeps under ``auth``."""
    return base64.b64encode(("%s:%s" % (username, password)).encode("utf-8")).decode("ascii")


def certificates(text):
    """The PEM certificates of a bundle, without what is written between them: a comment may be in any language, and ssl reads ASCII.

    ValueError when there is none.
    """
    found = re.findall(r"-----BEGIN (?:X509 )?CERTIFICATE-----.*?-----END (?:X509 )?CERTIFICATE-----", text, re.DOTALL)
    if not found:
        raise ValueError("no certificate in it")
    return "\n".join(found).encode("ascii", "replace").decode("ascii") + "\n"


def probe(address, ca_pem=None, username=None, password=None, timeout=ANSWER_SECONDS):
    """Log in to the registry at ``address`` (HOST[:PORT], over TLS) without keeping anything; returns an Outcome.

    ``ca_pem`` is trusted beside the system's own authorities, as the engine does with certs.d.
    """
    try:
        context = ssl.create_default_context()
        if ca_pem:
            context.load_verify_locations(cadata=certificates(ca_pem))
    except (ssl.SSLError, ValueError) as error:
        return Outcome(BAD_CERTIFICATE, "the CA given is no PEM certificate: %s" % error)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    credentials = basic(username, password) if username and password else None
    try:
        status, header = _ask(opener, "https://%s/v2/" % address, credentials, timeout)
        if status == 401 and credentials and parse_challenge(header)[0] == "bearer":
            status = _ask_token(opener, parse_challenge(header)[1], credentials, timeout)
    except ssl.SSLError as error:
        return _certificate_outcome(error)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            return _certificate_outcome(error.reason)
        return Outcome(UNREACHABLE, str(error.reason))
    except (OSError, ValueError) as error:
        return Outcome(UNREACHABLE, str(error))
    if status < 400:
        return Outcome(OK, "")
    if status in (401, 403):
        if credentials:
            return Outcome(WRONG_PASSWORD, "it answered %d to user %s" % (status, username))
        if parse_challenge(header)[0] == "bearer":  # a token server may let anybody pull
            return Outcome(OK, "")
        return Outcome(MISSING_PASSWORD, "it answered %d and no password was given" % status)
    return Outcome(UNREACHABLE, "it answered %d" % status)


def _ask(opener, url, credentials, timeout):
    request = urllib.request.Request(url)  # noqa: S310  both callers make it https
    if credentials:
        request.add_unredirected_header("Authorization", "Basic " + credentials)  # a password never travels on to another host
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("WWW-Authenticate")


def _ask_token(opener, challenge, credentials, timeout):
    query = {key: challenge[key] for key in ("service", "scope") if key in challenge}
    url = "%s?%s" % (challenge.get("realm", ""), urllib.parse.urlencode(query))
    if not url.startswith("https://"):  # a password never travels in the clear
        return 401
    return _ask(opener, url, credentials, timeout)[0]


def _certificate_outcome(error):
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
    # OpenSSL's X509_V_ERR numbers 18 to 21: the chain ends in an authority this host does not know
    unknown = getattr(error, "verify_code", None) in (18, 19, 20, 21)
    return Outcome(UNKNOWN_CA if unknown else BAD_CERTIFICATE, reason)


def merge_login(text, address, username, password):
    """The engine's client configuration ``text`` (JSON or None) with the login for ``address`` in it; the rest stays.

    ValueError when the text is not a JSON object. Unchanged text comes back when the login is there already.
    """
    document = json.loads(text) if text and text.strip() else {}
    if not isinstance(document, dict):
        raise ValueError("the top level is no JSON object")
    entry = {"auth": basic(username, password)}
    logins = document.setdefault("auths", {})
    if logins.get(address) == entry:
        return text
    logins[address] = entry
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
