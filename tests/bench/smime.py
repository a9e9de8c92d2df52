"""The S/MIME engine beside what it cannot do without: copying, the cipher, the digest, the key operation.

A ratio is of rates: 0.1 beside ``copy`` means ten times as long as copying the content in memory. Besides
the bars there are parties that do one part of the work alone; they show what limits the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import hashlib
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity
from nta_milter.message.spool import Spool
from nta_milter.smime import transfer
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.open import open_message
from nta_milter.smime.sign import sign
from nta_milter.smime.transfer import decode, encode_lines
from tests.bench.measure import Case, Comparison, Sample
from tests.unit.smime.persons import person, recipient, ring

MEGABYTES = 20_000_000
SMALL = 10_000
HEADERS = Headers().add("Content-Type", "application/octet-stream")
NOW = datetime.now(UTC)


def timed(work: Callable[[], object], times: int) -> Callable[[], Sample]:
    """A party that does the work so many times."""

    def take() -> Sample:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(times):
            work()
        return Sample(times, time.perf_counter() - wall, time.process_time() - cpu)

    return take


def peak(work: Callable[[], object]) -> Callable[[], Sample]:
    """A party whose ``seconds`` are the bytes that Python held at most beside the input."""

    def take() -> Sample:
        tracemalloc.start()
        try:
            work()
            return Sample(1, float(tracemalloc.get_traced_memory()[1]), 0.0)
        finally:
            tracemalloc.stop()

    return take


def case(name: str, times: int, bars: dict[tuple[str, str], float | None], **parties: Any) -> Case:
    comparisons = tuple(Comparison(one, other, bar) for (one, other), bar in bars.items())
    return Case(name, {key: timed(work, times) for key, work in parties.items()}, comparisons)


def both_at_once(work: Callable[[], object]) -> Callable[[], Sample]:
    """Two threads that do the work once each."""

    def take() -> Sample:
        threads = [threading.Thread(target=work) for _ in range(2)]
        cpu, wall = time.process_time(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Sample(2, time.perf_counter() - wall, time.process_time() - cpu)

    return take


class Libcrypto:
    """CMS of the system's libcrypto in this process, without the start-up of a command."""

    BINARY, STREAM = 0x80, 0x1000

    def __init__(self) -> None:
        self.library = ctypes.CDLL(ctypes.util.find_library("crypto"))
        for name in (
            "BIO_new_mem_buf", "BIO_new", "BIO_s_mem", "EVP_aes_256_cbc", "CMS_encrypt",
            "OPENSSL_sk_new_null", "PEM_read_bio_X509",
        ):  # fmt: skip
            getattr(self.library, name).restype = ctypes.c_void_p

    def encrypt(self, certificate: bytes, content: bytes) -> int:
        """Encrypt with AES-256-CBC to a memory BIO as S/MIME in base64; gives its length."""
        library, pointer = self.library, ctypes.c_void_p
        pem = pointer(library.BIO_new_mem_buf(certificate, len(certificate)))
        x509 = pointer(library.PEM_read_bio_X509(pem, None, None, None))
        stack = pointer(library.OPENSSL_sk_new_null())
        library.OPENSSL_sk_push(stack, x509)
        source = pointer(library.BIO_new_mem_buf(content, len(content)))
        flags = self.BINARY | self.STREAM
        cms = pointer(library.CMS_encrypt(stack, source, pointer(library.EVP_aes_256_cbc()), flags))
        target = pointer(library.BIO_new(pointer(library.BIO_s_mem())))
        if not cms.value or library.SMIME_write_CMS(target, cms, source, flags) != 1:
            raise RuntimeError("libcrypto does not encrypt")
        start = pointer()
        library.BIO_ctrl.restype = ctypes.c_long
        length = int(library.BIO_ctrl(target, 3, 0, ctypes.byref(start)))
        for bio in (pem, source, target):
            library.BIO_free(bio)
        library.CMS_ContentInfo_free(cms)
        library.X509_free(x509)
        library.OPENSSL_sk_free(stack)
        return length


def gcm(content: bytes, into: memoryview) -> None:
    encryptor = Cipher(algorithms.AES(b"k" * 32), modes.GCM(b"v" * 12)).encryptor()
    encryptor.update_into(content, into)
    encryptor.finalize()


def cbc(content: bytes, into: memoryview) -> None:
    encryptor = Cipher(algorithms.AES(b"k" * 32), modes.CBC(b"v" * 16)).encryptor()
    encryptor.update_into(content, into)
    encryptor.finalize()


def big_cases(content: bytes, times: int) -> Iterator[Case]:
    entity, to = Entity(HEADERS, content), [recipient("rsa")]
    scratch = memoryview(bytearray(len(content) + 64))

    def copy() -> None:
        bytes(memoryview(content))

    yield case(
        f"encrypt AES-256-GCM + base64, 20 MB{without()}",
        times,
        {("ours", "copy"): 0.1, ("cipher", "copy"): None, ("base64", "copy"): None},
        ours=lambda: encrypt(entity, to, cipher="aes-256-gcm"),
        copy=copy,
        cipher=lambda: gcm(content, scratch),
        base64=lambda: encode_lines(content),
    )
    system, pem = Libcrypto(), person("rsa").certificate.pem()
    assert system.encrypt(pem, content) > len(content) * 4 // 3
    yield case(
        f"encrypt AES-256-CBC + base64, 20 MB{without()}",
        max(1, times // 2),
        {("ours", "libcrypto"): 1.25, ("ours", "cipher"): None},
        ours=lambda: encrypt(entity, to, cipher="aes-256-cbc"),
        libcrypto=lambda: system.encrypt(pem, content),
        cipher=lambda: cbc(content, scratch),
    )
    sealed = encrypt(entity, to, cipher="aes-256-gcm")
    body, keys = bytes(sealed.body), ring("rsa")
    yield case(
        f"decrypt AES-256-GCM from base64, 20 MB{without()}",
        times,
        {("ours", "copy"): 1 / 12, ("cipher", "copy"): None, ("base64", "copy"): None},
        ours=lambda: open_message(sealed.headers, body, keys, None, at=NOW),
        copy=copy,
        cipher=lambda: gcm(content, scratch),
        base64=lambda: decode(body),
    )
    yield threads_case(entity, to)


def threads_case(entity: Entity, to: list[Any]) -> Case:
    def work() -> None:
        encrypt(entity, to, cipher="aes-256-cbc")

    parties = {"two": both_at_once(work), "one": timed(work, 1)}
    return Case("two threads, AES-256-CBC, 20 MB each", parties, (Comparison("two", "one", 1.6),))


def sign_case(content: bytes, times: int) -> Case:
    attachment = bytes(encode_lines(content[: MEGABYTES * 57 // 78]))
    entity = Entity(HEADERS.add("Content-Transfer-Encoding", "base64"), attachment)
    signer = person("rsa")

    def bare() -> None:
        hashlib.sha256(attachment)
        signer.key.sign(b"attributes", padding.PKCS1v15(), hashes.SHA256())

    return case(
        f"sign RSA-2048, 20 MB{without()}",
        times,
        {("ours", "bare"): 1 / 1.5, ("copy", "bare"): None},
        ours=lambda: sign(entity, signer, at=NOW),
        bare=bare,
        copy=lambda: bytes(memoryview(attachment)),
    )


def small_cases(content: bytes, times: int) -> Iterator[Case]:
    entity, to, keys = Entity(HEADERS, content), [recipient("rsa")], ring("rsa")
    public, private = person("rsa").certificate.public_key, person("rsa").key
    wrapped = public.encrypt(b"k" * 32, padding.PKCS1v15())
    scratch = memoryview(bytearray(len(content) + 64))
    sealed = encrypt(entity, to, cipher="aes-256-gcm")

    def bare_encrypt() -> None:
        public.encrypt(b"k" * 32, padding.PKCS1v15())
        gcm(content, scratch)

    def bare_decrypt() -> None:
        private.decrypt(wrapped, padding.PKCS1v15())
        gcm(content, scratch)

    yield case(
        "encrypt 10 KB, prepared RSA-2048 recipient",
        100 * times,
        {("ours", "bare"): 0.25, ("base64", "bare"): None},
        ours=lambda: encrypt(entity, to, cipher="aes-256-gcm"),
        bare=bare_encrypt,
        base64=lambda: encode_lines(content),
    )
    yield case(
        "decrypt 10 KB, RSA-2048",
        20 * times,
        {("ours", "bare"): 1 / 1.6},
        ours=lambda: open_message(sealed.headers, sealed.body, keys, None, at=NOW),
        bare=bare_decrypt,
    )


def memory_cases(content: bytes, folder: Path) -> Iterator[Case]:
    entity, to, keys = Entity(HEADERS, content), [recipient("rsa")], ring("rsa")
    sealed = encrypt(entity, to, cipher="aes-256-gcm")

    def spooled() -> None:
        spool = Spool(1_048_576, folder)
        encrypt(entity, to, cipher="aes-256-gcm", spool=spool)
        spool.discard()

    def given(length: int) -> Callable[[], Sample]:
        return lambda: Sample(1, float(length), 0.0)

    works: dict[str, tuple[int, Callable[[], object], float]] = {
        "encrypt": (len(content), lambda: encrypt(entity, to, cipher="aes-256-gcm"), 2.5),
        "encrypt to a spool": (len(content), spooled, 0.2),
        "decrypt": (
            len(sealed.body),
            lambda: open_message(sealed.headers, sealed.body, keys, None, at=NOW),
            2.5,
        ),
    }
    for name, (length, work, bar) in works.items():
        parties = {"peak": peak(work), "input": given(length)}
        yield Case(f"memory to {name}, 20 MB: input / peak", parties, (Comparison("peak", "input", 1 / bar),))


def without() -> str:
    return "" if transfer.FAST else ", without pybase64"


@contextlib.contextmanager
def plain_base64() -> Iterator[None]:
    """As if pybase64 were not installed."""
    names = ("_pack", "_unpack", "_encode_few", "is_base64")
    saved = {name: getattr(transfer, name) for name in (*names, "FAST")}
    replaced = (
        transfer._pack_plain, transfer.binascii.a2b_base64, transfer._encode_few_plain,
        transfer._is_base64_plain,
    )  # fmt: skip
    try:
        for name, function in zip(names, replaced, strict=True):
            setattr(transfer, name, function)
        transfer.FAST = False
        yield
    finally:
        for name, value in saved.items():
            setattr(transfer, name, value)


@contextlib.contextmanager
def cases(folder: Path, scale: int) -> Iterator[Iterator[Case]]:
    """Every case; those without pybase64 show the loss and have no bars."""
    content = os.urandom(MEGABYTES)

    def every() -> Iterator[Case]:
        yield from big_cases(content, 3 * scale)
        yield sign_case(content, 3 * scale)
        yield from small_cases(content[:SMALL], scale)
        yield from memory_cases(content, folder)
        with plain_base64():
            for slow in (*list(big_cases(content, 1))[:3], sign_case(content, 1)):
                bare = tuple(Comparison(one.candidate, one.baseline) for one in slow.comparisons)
                yield Case(slow.name, slow.parties, bare[:1])

    yield every()
