# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""What a registry says an image is, without pulling it: the manifest for this architecture, over TLS.

The host trusts for this what its engine trusts: the system's authorities and those under ``certs.d``.
"""

from __future__ import annotations

import glob
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _image_identity, _registry

# https://docs.docker.com/engine/security/certificates/
ENGINE_CERTIFICATES = "/etc/docker/certs.d"
ANSWER_SECONDS = 30

NOT_FOUND = "not_found"

# What a registry refused, and what mends it. The engine's own words for the same are read by `reason_of_engine`.
REMEDIES = {
    _registry.UNKNOWN_CA: "give image_registry_ca, the PEM file of the authority behind the registry's certificate, and run prepare.yml",
    _registry.BAD_CERTIFICATE: "mend the registry's certificate, or the address in image_reference",
    _registry.MISSING_PASSWORD: "give image_registry_username and image_registry_password",
    _registry.WRONG_PASSWORD: "mend image_registry_username and image_registry_password",
    _registry.UNREACHABLE: "mend the address in image_reference, or the registry",
    NOT_FOUND: "mend image_reference, or push the image",
    "disk_full": "make room in the engine's data folder",
    "engine": "read the engine's log on this host",
}

# Beginnings of what dockerd and containerd answer to a pull (moby/moby, distribution/ and registry/; containerd, remotes/docker).
_ENGINE_WORDS = (
    ("certificate signed by unknown authority", _registry.UNKNOWN_CA),
    ("x509:", _registry.BAD_CERTIFICATE),
    ("no basic auth credentials", _registry.MISSING_PASSWORD),
    ("unauthorized", _registry.WRONG_PASSWORD),
    ("denied", _registry.WRONG_PASSWORD),
    ("manifest unknown", NOT_FOUND),
    ("not found", NOT_FOUND),
    ("no space left on device", "disk_full"),
    ("connection refused", _registry.UNREACHABLE),
    ("no such host", _registry.UNREACHABLE),
    ("i/o timeout", _registry.UNREACHABLE),
    ("no route to host", _registry.UNREACHABLE),
)


class RegistryError(Exception):
    """The registry did not give the manifest.

    :ivar reason: a key of :data:`REMEDIES`.
    :ivar detail: in the registry's own words, on one line.
    """

    def __init__(self, reason, detail):
        super().__init__(detail)
        self.reason = reason
        self.detail = " ".join(str(detail).split())


def reason_of_engine(message, with_password):
    """Which key of :data:`REMEDIES` the engine's message on a failed pull means."""
    text = message.lower()
    for words, reason in _ENGINE_WORDS:
        if words in text:
            if reason == _registry.WRONG_PASSWORD and not with_password:
                return _registry.MISSING_PASSWORD
            return reason
    return "engine"


def trusted_authorities(registry, folder=ENGINE_CERTIFICATES):
    """PEM text of the authorities that the engine trusts for one registry, beside the system's."""
    texts = []
    for path in sorted(glob.glob(os.path.join(glob.escape(os.path.join(folder, registry)), "*.crt"))):
        with open(path, encoding="utf-8", errors="replace") as stream:
            texts.append(stream.read())
    return "\n".join(texts)


class Registry(object):
    """One repository's registry.

    :param reference: an :class:`_image_identity.Reference`.
    :param username: empty for a registry that asks for none.
    :param authorities: PEM text to trust beside the system's authorities.
    :raises RegistryError: when that text is none.
    """

    def __init__(self, reference, username="", password="", authorities=""):
        self._reference = reference
        self._basic = "Basic " + _registry.basic(username, password) if username and password else ""
        self._authorization = self._basic
        context = ssl.create_default_context()
        if authorities:
            try:
                context.load_verify_locations(cadata=_registry.certificates(authorities))
            except (ssl.SSLError, ValueError) as error:
                raise RegistryError(_registry.BAD_CERTIFICATE, "an authority of the engine's is no PEM certificate: %s" % error) from error
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def identity(self, arch):
        """The identity of the referenced image for ``linux/<arch>``, see :func:`_image_identity.identity_of_manifest`.

        :raises RegistryError: when the registry cannot be reached, does not trust us, or has no such image.
        :raises IdentityError: when what it has is no image for this architecture, or not what its digest says.
        """
        content = self._manifest(self._reference.wanted)
        try:
            index = json.loads(content.decode("utf-8"))
        except ValueError as error:
            raise _image_identity.IdentityError("not JSON: %s" % error, "a manifest") from error
        if "manifests" in index:
            content = self._manifest(_image_identity.choose_manifest(index, arch))
        return _image_identity.identity_of_manifest(content)

    def _manifest(self, wanted):
        content = self._get("manifests/" + wanted)
        found = _image_identity.digest_of(content)
        if wanted.startswith("sha256:") and wanted != found:
            raise _image_identity.IdentityError("a manifest whose hash is %s" % found, wanted)
        return content

    def _get(self, path):
        url = "https://%s/v2/%s/%s" % (self._reference.registry, self._reference.repository, path)
        try:
            return self._open(url)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise self._refusal(error) from error
            challenge = error
        except (OSError, ValueError) as error:
            raise _unreachable(error) from error
        self._log_in(challenge)
        try:
            return self._open(url)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, ValueError) as error:
            raise _unreachable(error) from error

    def _open(self, url):
        accepted = ", ".join(_image_identity.MANIFEST_TYPES + _image_identity.INDEX_TYPES)
        request = urllib.request.Request(url, headers={"Accept": accepted})  # noqa: S310 - https, as _get made it
        if self._authorization:
            request.add_unredirected_header("Authorization", self._authorization)  # never on to another host
        with self._opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return answer.read()

    def _log_in(self, challenge):
        """Answer a Bearer challenge by fetching a token, with the password or, where there is none, as anybody."""
        scheme, parameters = _registry.parse_challenge(challenge.headers.get("WWW-Authenticate"))
        realm = parameters.get("realm", "")
        if scheme != "bearer" or not realm.startswith("https://"):  # a password never travels in the clear
            raise self._refusal(challenge)
        query = {"scope": "repository:%s:pull" % self._reference.repository}
        if "service" in parameters:
            query["service"] = parameters["service"]
        request = urllib.request.Request(realm + "?" + urllib.parse.urlencode(query))  # noqa: S310 - https, see above
        if self._basic:
            request.add_unredirected_header("Authorization", self._basic)
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS) as answer:
                token = json.loads(answer.read().decode("utf-8"))
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, ValueError) as error:
            raise _unreachable(error) from error
        self._authorization = "Bearer " + (token.get("token") or token.get("access_token") or "")

    def _refusal(self, error):
        """What an HTTP status means, as a RegistryError."""
        if error.code in (401, 403):
            reason = _registry.WRONG_PASSWORD if self._basic else _registry.MISSING_PASSWORD
        elif error.code == 404:
            reason = NOT_FOUND
        else:
            reason = _registry.UNREACHABLE
        return RegistryError(reason, "it answered %d %s" % (error.code, error.reason))


def measure(text, pinned, authorities=None, username=None, password=None):
    """How large is the image that the reference ``text`` means for this machine, compressed?

    ``pinned`` is the lock's image, empty where nothing is pinned: a tag means what the lock says, wherever it has moved since.
    Returns an :class:`_registry.Outcome`, whose state is OK or a key of :data:`REMEDIES`, and the size in bytes; None unless OK.
    """
    try:
        reference = _image_identity.parse_reference(text)
        if _image_identity.is_told_by_lock(pinned, reference):
            reference = reference._replace(digest=pinned["manifest_digest"])
        registry = Registry(reference, username, password, authorities)
        return _registry.Outcome(_registry.OK, ""), registry.identity(_image_identity.architecture())["bytes"]
    except RegistryError as error:
        return _registry.Outcome(error.reason, error.detail), None
    except _image_identity.IdentityError as error:
        return _registry.Outcome(NOT_FOUND, error.observed), None


def _unreachable(error):
    """What went wrong before any HTTP status, as a RegistryError."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        # OpenSSL's X509_V_ERR numbers 18 to 21: the chain ends in an authority this host does not know
        unknown = cause.verify_code in (18, 19, 20, 21)
        return RegistryError(_registry.UNKNOWN_CA if unknown else _registry.BAD_CERTIFICATE, cause.verify_message)
    return RegistryError(_registry.UNREACHABLE, cause)
