"""Answering the sender: the reply is stored sealed, and the worker sends it by a secure route."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.portal import compose
from nta_milter.portal.forms import Form
from nta_milter.portal.session import Opened
from nta_milter.portal.views.message import base_path
from nta_milter.portal.visit import Visit
from nta_milter.store.keys import new_id, new_message_key
from nta_milter.store.rows import NewDelivery, NewMessage

TEXT_LIMIT = 100_000
"""Most characters of a reply."""
FORM_ROOM = 1_000_000
"""What a form takes besides its files, in bytes."""


def write(visit: Visit) -> Response:
    """The form."""
    opened = visit.opened(touch=True)
    if opened is None:
        return visit.closed()
    return _page(visit, opened, new_id())


def send(visit: Visit) -> Response:
    """Store the reply durably, then say that it was sent."""
    opened = visit.opened(touch=True)
    if opened is None:
        return visit.closed()
    visit.demand_own_form(opened)
    form = visit.form
    text = form.text("text")
    once = form.text("once")
    if not text.strip():
        return _page(visit, opened, once, text, visit.language("reply.missing"))
    if len(text) > TEXT_LIMIT:
        return _page(visit, opened, once, text, visit.language("reply.long", count=TEXT_LIMIT))
    limit = visit.portal.settings.portal.reply_limit
    if sum(len(upload.content) for upload in form.uploads) > limit:
        size = visit.language.size(limit)
        return _page(visit, opened, once, text, visit.language("reply.files_large", size=size))
    _store(visit, opened, _identity(opened, form))
    return visit.redirect(f"{base_path(opened)}?replied=yes")


def _page(visit: Visit, opened: Opened, once: str, text: str = "", problem: str = "") -> Response:
    content = visit.portal.reading.content(opened)
    return visit.page(
        "reply.html",
        400 if problem else 200,
        base=base_path(opened),
        token=opened.form_token,
        once=once,
        content=content,
        subject=compose.subject_of(content, visit.language("reply.prefix")),
        text=text,
        text_limit=TEXT_LIMIT,
        files_limit=visit.portal.settings.portal.reply_limit,
        problem_text=problem,
    )


def _identity(opened: Opened, form: Form) -> str:
    """An id that is the same when one form is sent twice unchanged, so that it is stored once."""
    digest = hashlib.sha256(opened.token.secret)
    pieces = [form.text("once").encode(), form.text("text").encode()]
    for upload in form.uploads:
        pieces += [upload.name.encode("utf-8", "surrogatepass"), upload.content]
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "big"))
        digest.update(piece)
    return digest.hexdigest()[:32]


def _store(visit: Visit, opened: Opened, message_id: str) -> None:
    portal, delivery, now = visit.portal, opened.delivery, visit.now
    if portal.store.handover.list_deliveries(message_id=message_id, limit=1):
        return
    content = portal.reading.content(opened)
    domain = delivery.author.rpartition("@")[2]
    mail = compose.reply(
        content,
        author=delivery.recipient,
        recipient=delivery.author,
        subject=compose.subject_of(content, visit.language("reply.prefix")),
        text=visit.form.text("text"),
        uploads=visit.form.uploads,
        message_id=f"<{message_id}@{domain}>",
        at=now.astimezone(portal.zone),
        unnamed=visit.language("message.unnamed"),
    )
    key, blob_id = new_message_key(), new_id()
    blob = portal.store.put(message_id, blob_id, key, [mail])
    portal.store.outgoing.keep(
        NewMessage(
            id=message_id,
            digest=message_id,
            sender=delivery.recipient,
            author=delivery.recipient,
            language=visit.language.code,
            created_at=now,
            expires_at=now + timedelta(days=portal.settings.portal.lifetime),
            worker_wrap=portal.store.public.for_worker(key, message_id, (delivery.author,)),
            blobs=(blob,),
            deliveries=(NewDelivery(new_id(), blob_id, delivery.author, "tempfail"),),
            reply_to=delivery.id,
            queue_id=message_id,
        )
    )
    portal.record(Event.REPLIED, delivery, {"reply": message_id})
