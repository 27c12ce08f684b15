"""Where an SQLite file may lie: a local disk. Others break its locks and its shared memory."""

from __future__ import annotations

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs"),
        *("fuse.ceph", "fuse.cifs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.gvfsd-fuse"),
        *("fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs"),
    }
)
"""File systems whose other users are on other machines, or whose locks are not trusted
(sqlite.org/useovernet.html, sqlite.org/wal.html: all of a WAL's users share one machine)."""


def network_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the kind of network file system that `path` lies on; None for a local disk.

    None too where nobody says: a system without `/proc`.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        wanted = path.resolve()
    except OSError:
        return None
    best, kind = -1, ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_plain(fields[1]))
        # The last of equal ones lies on top.
        if len(point.parts) >= best and wanted.is_relative_to(point):
            best, kind = len(point.parts), fields[2]
    return kind if kind in NETWORK else None


def _plain(field: str) -> str:
    """Return a mount point without its octal escapes (space, tab, newline, backslash)."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, character)
    return field
