# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""One lane of the swarm: one torrent, one session, one process, from the first look at the disk until nobody needs it any more.

Three things that libtorrent says are not what they seem, each met on a machine: "seeding" is not "on the disk", progress 1.0 may stand
beside a disk that is full, and what a session wrote down of its own progress is believed without a look at the files. So a lane is whole
only when libtorrent has acknowledged that its cache is flushed, no file reported an error, and every file was synchronised and has its
size; and its notes count only while the machine that wrote them has not been restarted.
"""

from __future__ import annotations

import os
import time

try:
    import libtorrent
except ImportError:  # where no lane runs, such as where the modules are checked; the program says it before it makes one
    libtorrent = None

from . import _merkle, _swarm_pieces, _swarm_settings
from ._swarm_state import CHANGED, CHECKING, COMPLETE, FLUSHING, RECEIVING

TICK_SECONDS = 0.5
OWN_SHARE, OTHER_SHARES = 7, 4  # libtorrent's highest and usual priorities
LOOK_SECONDS = 0.5
SAVE_SECONDS = 2.0  # what a lane that is killed may have to fetch again


class LaneError(Exception):
    """A lane cannot go on.

    :ivar path: the file below the lane's folder; empty where it is about none.
    :ivar reason: in words.
    """

    def __init__(self, path, reason):
        super().__init__("%s: %s" % (path, reason) if path else reason)
        self.path = path
        self.reason = reason


class Tally(object):
    """Bytes that came over connections of which some have ended.

    :ivar bytes: of all that were ever told.
    """

    def __init__(self):
        self._ended = 0
        self._last = {}

    @property
    def bytes(self):
        return self._ended + sum(self._last.values())

    def take(self, connections):
        """Take what each connection has brought since it began, by its other end; one that has less than before is another one."""
        self._ended += sum(count for end, count in self._last.items() if connections.get(end, -1) < count)
        self._last = dict(connections)


class Lane(object):
    """A lane as its configuration says; :meth:`run` ends when it is no longer needed.

    :param config: see ``_swarm_program``.
    :param state: a ``_swarm_state.LaneState``.
    """

    def __init__(self, config, state):
        self.config = config
        self.state = state
        self.torrent = libtorrent.torrent_info(config["torrent"])
        with open(config["torrent"], "rb") as stream:
            self._layers = libtorrent.bdecode(stream.read()).get(b"piece layers", {})
        self._refuse_links()
        self.files = _swarm_pieces.files_of(self.torrent)
        if config.get("tls") and not self.torrent.ssl_cert():
            raise LaneError("", "the torrent names no authority, and the lane has a certificate")
        if self.torrent.ssl_cert() and not config.get("tls"):
            raise LaneError("", "the torrent names an authority, and the lane has no certificate of it")
        self.wanted = sum(entry.size for entry in self.files)
        self.only_gives = config["complete"] == "everything"
        # A host that has everything is a source like any other.
        self.source = self.only_gives or {entry.path for entry in self.files} <= set(config["complete"])
        self.session = None
        self.handle = None
        self.whole = False
        self._began, self._whole_at = time.monotonic(), None
        self._busy = True
        self.failed_pieces = 0
        self.liars = set()
        self._from_sources = Tally()
        self._banned = False
        self._earlier = {"received_bytes": 0, "sent_bytes": 0, "wasted_bytes": 0}
        self._saved = 0.0
        self._needed = time.monotonic()
        self._peers = {address.rpartition(":")[0]: address for address in config["peers"]}
        # Of two that know of each other the one with the smaller address dials, and the other only when that one has not.
        own = config["listen"][0].rpartition(":")[0] if config["listen"] else ""
        patient = time.monotonic() + _swarm_settings.TURN_SECONDS
        self._dialled = {address: patient for address in self._peers if own > address}

    def run(self, stopped):
        """Take part until ``stopped()`` is true or nobody has needed the lane for its time.

        :raises LaneError: when a file cannot be read or written, or an address cannot be bound.
        """
        self._open()
        self._add()
        try:
            looked = float("-inf")
            while not stopped() and not self._idle():
                self.session.wait_for_alert(int(TICK_SECONDS * 1000))
                finished = self._hear()
                # Looking at all peers costs more than anything else here, and alerts come in hundreds.
                if finished or time.monotonic() - looked >= LOOK_SECONDS:
                    looked = time.monotonic()
                    self._forgive()
                    self._dial()
                    self._tell()
                    if not self.whole and self.handle.status().is_seeding:
                        self._finish()
            self._tell(at_once=True)
        finally:
            self._save_last()

    # --- Beginning

    def _open(self):
        members = len(self._peers)
        params = libtorrent.session_params()
        params.settings = dict(
            _swarm_settings.settings(self.config["listen"], members, self.wanted, tls=bool(self.config.get("tls")), source=self.only_gives),
            alert_mask=libtorrent.alert.category_t.error_notification
            | libtorrent.alert.category_t.storage_notification
            | libtorrent.alert.category_t.status_notification
            | libtorrent.alert.category_t.peer_notification,
            **self.config.get("settings", {}),
        )
        self.session = libtorrent.session(params)
        self.session.set_ip_filter(_only(self.config["allow"]))

    def _refuse_links(self):
        """We make no torrent with links in it; libtorrent would make them on the disk."""
        storage = self.torrent.files()
        for index in range(storage.num_files()):
            if storage.file_flags(index) & storage.flag_symlink:
                raise LaneError(storage.file_path(index), "a link in a torrent")

    def _add(self):
        params = libtorrent.add_torrent_params()
        params.ti = self.torrent
        params.save_path = self._save_path()
        # Files are mapped into memory: a page of a hole for which the disk has no room would end the process with SIGBUS (met). A file
        # gets all its room before its first byte, or the lane says that there is none.
        params.storage_mode = libtorrent.storage_mode_t.storage_mode_allocate
        params.flags = libtorrent.torrent_flags.apply_ip_filter
        if self.source:
            # Each piece is hashed before it is first sent, so that a file which changed since is named here and not suspected there.
            params.flags |= libtorrent.torrent_flags.seed_mode
            self._expect_whole()
        else:
            noted, begun = self._noted()
            have = _swarm_pieces.known(self.files, self.torrent.num_pieces(), set(self.config["complete"]), noted, self._check)
            params.have_pieces = have
            # libtorrent takes a piece that is noted as begun for one that is not there, whatever was found since.
            params.unfinished_pieces = {piece: blocks for piece, blocks in begun.items() if not have[piece]}
            params.flags |= libtorrent.torrent_flags.no_verify_files
            self._make_empty_files()
            params.piece_priorities = self._priorities(have)
        self.handle = self.session.add_torrent(params)
        if self.config.get("tls"):
            self._show_certificate()

    def _show_certificate(self):
        """What this member shows to the others; before, libtorrent connects to nobody and nobody to it."""
        texts = []
        for name in ("certificate", "key"):
            with open(self.config["tls"][name]) as stream:
                texts.append(stream.read())
        self.handle.set_ssl_certificate_buffer(texts[0], texts[1], _swarm_settings.DIFFIE_HELLMAN)

    def _priorities(self, have):
        """Which pieces this host asks for first: a share of its own, so that the hosts begin with different ones and exchange them."""
        own = self.config["listen"][0].rpartition(":")[0] if self.config["listen"] else ""
        hosts = sorted(set(self._peers) | {own})
        share = hosts.index(own)
        return [OWN_SHARE if piece % len(hosts) == share else OTHER_SHARES for piece in range(len(have))]

    def _save_path(self):
        """libtorrent calls the folder as the torrent does, but takes a torrent of one file in no folder for that file."""
        if [entry.path for entry in self.files] == [self.torrent.files().file_path(0)]:
            return self.config["folder"]
        return self.state.view(self.torrent.name(), self.config["folder"])

    def _noted(self):
        """What the lane wrote down when it last ran: (pieces that were on the disk, blocks of pieces that were begun).

        ``None`` and nothing where there are no notes, or the machine was restarted since. No more is taken of libtorrent's notes: after a
        full disk they say that nothing is to be received any more.
        """
        data = self.state.resume()
        try:
            notes = libtorrent.read_resume_data(data or b"")
        except RuntimeError:  # none, cut, or of another version: the files themselves are looked at
            return None, {}
        have = list(notes.have_pieces)
        # The files may have been cut into lanes otherwise when these notes were taken.
        if notes.info_hashes != self.torrent.info_hashes() or len(have) != self.torrent.num_pieces():
            return None, {}
        return have, notes.unfinished_pieces

    def _expect_whole(self):
        for entry in self.files:
            try:
                with open(self._path(entry), "rb") as stream:
                    size = os.fstat(stream.fileno()).st_size
            except OSError as error:
                raise LaneError(entry.path, error.strerror) from error
            if size != entry.size:
                raise LaneError(entry.path, "%d bytes, expected %d" % (size, entry.size))

    def _make_empty_files(self):
        """libtorrent makes no file that has no piece."""
        for entry in self.files:
            if not entry.pieces and self._size(entry) != 0:
                path = self._path(entry)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb"):
                    pass

    def _check(self, entry, noted):
        """The pieces of a file, by reading those that the lane did not note."""
        size = self._size(entry)
        if not size:
            return [False] * entry.pieces
        if size != entry.size:  # libtorrent gives a file its size when it begins; somebody has cut it since
            noted = [False] * entry.pieces
        if all(noted):
            return noted
        self.state.tell(CHECKING, file=entry.path)
        wanted, length = self._piece_hashes(entry), self.torrent.piece_length()
        try:
            return _swarm_pieces.found_pieces(self._path(entry), entry.size, length, wanted, noted)
        except OSError as error:
            raise LaneError(entry.path, error.strerror or str(error))

    # --- Going on

    def _hear(self):
        """Take note of what libtorrent says; returns whether something ended or began, so that it is worth a look."""
        news = False
        for alert in self.session.pop_alerts():
            if isinstance(alert, libtorrent.save_resume_data_alert):
                self.state.save_resume(libtorrent.write_resume_data_buf(alert.params))
            elif isinstance(alert, libtorrent.file_error_alert):
                raise LaneError(self._below(alert.filename()), alert.error.message())
            elif isinstance(alert, libtorrent.torrent_error_alert):
                raise LaneError("", alert.error.message())
            elif isinstance(alert, libtorrent.listen_failed_alert):
                raise LaneError("", "%s:%d: %s" % (alert.address, alert.port, alert.error.message()))
            elif isinstance(alert, libtorrent.hash_failed_alert):
                self.failed_pieces += 1
            elif isinstance(alert, libtorrent.peer_ban_alert):
                self.liars.add(alert.endpoint[0])
                self._banned = True
            elif isinstance(alert, (libtorrent.torrent_finished_alert, libtorrent.state_changed_alert)):
                news = True
        return news

    def _dial(self):
        """Connect to the peers that are not connected."""
        now = time.monotonic()
        connected = {peer.ip[0] for peer in self.handle.get_peer_info()}
        if self._busy and (connected >= set(self._peers) or now - self._began > _swarm_settings.BUSY_SECONDS):
            self._busy = False
            self.session.apply_settings({"tick_interval": _swarm_settings.IDLE_TICK})
        for address, endpoint in self._peers.items():
            if address not in connected and now - self._dialled.get(address, float("-inf")) >= _swarm_settings.RECONNECT_SECONDS:
                self._dialled[address] = now
                self.handle.connect_peer((address, int(endpoint.rpartition(":")[2])))

    def _tell(self, at_once=False):
        status = self.handle.status()
        if self.source and status.state == libtorrent.torrent_status.downloading:
            # It found a wrong piece, read everything anew, and now would like to have the right ones.
            raise LaneError(next(iter(self._incomplete()), ""), CHANGED)
        done = min(self.wanted, status.total_wanted_done)
        phase = COMPLETE if self.whole else RECEIVING
        connected = [peer for peer in self.handle.get_peer_info() if not peer.flags & (peer.connecting | peer.handshake)]
        self._from_sources.take(
            {peer.ip: peer.total_download for peer in connected if peer.client == _swarm_settings.SOURCE_AGENT.encode("ascii")}
        )
        peers = {
            peer.ip[0]: {"progress": round(peer.progress, 4), "down": peer.payload_down_speed, "up": peer.payload_up_speed}
            for peer in connected
        }
        self.state.tell(
            phase,
            at_once=at_once,
            seconds=round(self._seconds(), 1),
            wanted_bytes=self.wanted,
            done_bytes=self.wanted if self.whole else done,
            failed_pieces=self.failed_pieces,
            liars=sorted(self.liars),
            rate=status.download_payload_rate,
            source_bytes=self._from_sources.bytes,
            peers=peers,
            files={} if self.whole else self._incomplete(),
            **self._traffic(status),
        )
        if any(peer["progress"] < 1 for peer in peers.values()) or not self.whole:
            self._needed = time.monotonic()
        if not self.whole and time.monotonic() - self._saved >= SAVE_SECONDS:
            self._saved = time.monotonic()
            self.handle.save_resume_data(libtorrent.torrent_handle.flush_disk_cache)

    def _traffic(self, status):
        """What went over the network since the lane began, in bytes."""
        counted = {
            "received_bytes": status.total_payload_download,
            "sent_bytes": status.total_payload_upload,
            "wasted_bytes": status.total_redundant_bytes + status.total_failed_bytes,
        }
        return {name: count + self._earlier[name] for name, count in counted.items()}

    def _forgive(self):
        """Let everybody in again when nobody is left: of a wrong piece that came from several, libtorrent suspects all of them."""
        if not self._banned or self.whole or self.handle.get_peer_info():
            return
        self._earlier = self._traffic(self.handle.status())
        self._note()
        self.session.remove_torrent(self.handle)
        self._banned = False
        self._dialled.clear()
        self._add()

    def _incomplete(self):
        progress = self.handle.file_progress(libtorrent.file_progress_flags_t.piece_granularity)
        storage = self.torrent.files()
        sizes = {}
        for index in range(storage.num_files()):
            if not storage.file_flags(index) & storage.flag_pad_file and progress[index] < storage.file_size(index):
                sizes[self._below(storage.file_path(index))] = progress[index]
        return sizes

    def _finish(self):
        """Every piece has arrived; see that every piece is on the disk."""
        if not self.source:
            self.state.tell(FLUSHING)
            self.handle.flush_cache()
            self._await(libtorrent.cache_flushed_alert)
            for entry in self.files:
                with open(self._path(entry), "rb") as stream:
                    os.fsync(stream.fileno())
                    size = os.fstat(stream.fileno()).st_size
                if size != entry.size:
                    raise LaneError(entry.path, "%d bytes on the disk, expected %d" % (size, entry.size))
            self._note()
        self.whole, self._whole_at = True, time.monotonic()
        self._tell()

    def _await(self, kind, seconds=3600.0):
        for alert in self._alerts(seconds):
            if isinstance(alert, libtorrent.file_error_alert):
                raise LaneError(self._below(alert.filename()), alert.error.message())
            if isinstance(alert, kind):
                return
        raise LaneError("", "the disk took longer than %d seconds" % seconds)

    def _seconds(self):
        """How long the lane took to be whole, or runs already."""
        return (self._whole_at or time.monotonic()) - self._began

    def _idle(self):
        return time.monotonic() - self._needed > self.config["linger_seconds"]

    def _save_last(self):
        """What is known at the end, so that the next run goes on from here."""
        if self.source or self.handle is None or self.whole:
            return
        self.session.pause()
        self._note()

    def _note(self):
        """Write down which pieces are on the disk."""
        self.handle.save_resume_data(libtorrent.torrent_handle.flush_disk_cache)
        for alert in self._alerts(30):
            if isinstance(alert, libtorrent.save_resume_data_alert):
                self.state.save_resume(libtorrent.write_resume_data_buf(alert.params))
                return
            if isinstance(alert, libtorrent.save_resume_data_failed_alert):
                return

    def _alerts(self, seconds):
        """What libtorrent says within a time, for who waits for one thing alone."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.session.wait_for_alert(int(TICK_SECONDS * 1000))
            yield from self.session.pop_alerts()

    # --- Small things

    def _path(self, entry):
        return os.path.join(self.config["folder"], entry.path)

    def _below(self, path):
        """A path as libtorrent tells it, below the lane's folder."""
        inside = self.torrent.name() + os.sep
        for prefix in (os.path.join(self.state.view_folder, inside), inside, self.config["folder"] + os.sep):
            if path.startswith(prefix):
                return path[len(prefix) :]
        return path

    def _size(self, entry):
        try:
            return os.stat(self._path(entry)).st_size
        except OSError:
            return None

    def _piece_hashes(self, entry):
        """What the torrent says of a file's pieces."""
        storage = self.torrent.files()
        root = storage.root(storage.file_index_at_piece(entry.first)).to_bytes()
        layer = self._layers.get(root, root)  # a file of one piece has no layer: its root is its piece's hash
        return _merkle.split(layer)


def _only(addresses):
    """A filter that lets nobody in but these addresses."""
    rules = libtorrent.ip_filter()
    blocked = 1
    rules.add_rule("0.0.0.0", "255.255.255.255", blocked)  # noqa: S104 - nobody
    rules.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", blocked)
    for address in addresses:
        rules.add_rule(address, address, 0)
    return rules
