"""What is kept: rows in one database, sealed content in blobs, and the keys that open it.

Database, blobs and the portal's private key together open nothing: each message key is encrypted under a
secret that stands in the recipient's link alone, and once more to the public key of the worker.

The portal opens a message so::

    store = open_store(settings)                      # after a fork
    keys = private_keys("portal", settings)
    token = Token.parse(text_of_the_link)             # None: it cannot be one
    linked = store.access.find_by_link(token.lookup, now)     # None: unknown, expired, deleted, locked
    ...                                               # the second factor: access.factors, challenge, answer
    key = keys.open_link(token, linked.sealed, linked.delivery.message_id)
    cookie = Token.new()                              # wrapped = cookie.wrap(key, context)
    store.access.begin_session(Session(cookie.lookup, linked.delivery, "open", wrapped, now, until))
    with store.open(delivery.message_id, delivery.blob_id, key) as content:
        content.size, content.read(offset, length), content.pieces()

``rows`` holds the values, ``outgoing`` what is stored and released, ``handover`` what is handed to Postfix,
``access`` what the portal asks, ``retention`` the end of it all.
"""
