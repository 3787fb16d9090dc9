"""What a file is that is no model: what people have in a model's place without knowing."""

from __future__ import annotations

_HEAD_BYTES = 512


def wrong_kind(head: bytes) -> str | None:
    """What a file is by its first bytes, and what to do; None if that is not known.

    >>> wrong_kind(b"<!DOCTYPE html>").partition(":")[0]
    'It is an HTML page'
    """
    start = head[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start.lower()
    if not head:
        return "It is empty: the download or the export failed."
    if lower.startswith(b"version https://git-lfs"):
        return (
            "It is a Git LFS pointer, a note where the model lies: run 'git lfs pull', or download "
            "the file itself."
        )
    if lower.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        return (
            "It is an HTML page: what was downloaded is a web page about the file, or an error "
            "page. Use the link of the raw file."
        )
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "It is an HDF5 file, as Keras writes: its name should end in .h5."
    if start.startswith(b"PK\x03\x04"):
        return (
            "It is a ZIP archive: if Keras wrote it, its name should end in .keras; if it is a "
            "download, unpack it."
        )
    if start.startswith(b"\x1f\x8b"):
        return "It is compressed with gzip: unpack it."
    if lower.startswith((b'{"message"', b'{"error"')):
        return "It is an error message of a server, in JSON: download the file again."
    if head[4:8] == b"TFL3":
        return "It is a .tflite model: its name should end in .tflite."
    return None
