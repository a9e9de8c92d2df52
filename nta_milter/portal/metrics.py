"""What the portal counts besides the events that it records."""

from __future__ import annotations

from nta_milter.monitor.registry import Metric, Registry
from nta_milter.portal.asgi import Application, Event, Receive, Scope, Send

REQUESTS = Metric(
    "nta_milter_portal_requests_total",
    "counter",
    "Requests that the portal answered, by the class of the answer.",
    {"answer": frozenset(("1xx", "2xx", "3xx", "4xx", "5xx"))},
)
METRICS = (REQUESTS,)


def counted(application: Application, registry: Registry) -> Application:
    """The application, its answers counted."""

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(event: Event) -> None:
            if event["type"] == "http.response.start":
                registry.add(REQUESTS, f"{event['status'] // 100}xx")
            await send(event)

        await application(scope, receive, sending)

    return counting
