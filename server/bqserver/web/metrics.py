"""``GET /metrics``: the server's figures for Prometheus; needs the extra ``metrics``."""

from __future__ import annotations

from collections.abc import Iterator

from bqserver.hub.hub import Hub

from .errors import ApiError
from .handler import Handler

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

    class HubCollector(Collector):
        """Figures are not split by room or name: there may be many, and they are private."""

        def __init__(self, hub: Hub) -> None:
            self._hub = hub

        def collect(self) -> Iterator[Metric]:
            hub, counters = self._hub, self._hub.audit.counters
            yield GaugeMetricFamily("bqserver_members", "Connected now.", len(hub.peers))
            yield GaugeMetricFamily("bqserver_rooms", "Rooms with members now.", len(hub.rooms))
            yield GaugeMetricFamily("bqserver_log_healthy", "1 when the log can be written.", hub.log.healthy())
            yield CounterMetricFamily("bqserver_joins", "WebSocket joins.", counters.joins)
            yield CounterMetricFamily("bqserver_entries", "Entries stored.", counters.entries)
            yield CounterMetricFamily(
                "bqserver_deliveries", "Entries handed to a member's connection.", counters.deliveries
            )
            requests = CounterMetricFamily("bqserver_http_requests", "HTTP answers.", labels=["status"])
            for status, count in sorted(counters.requests.items()):
                requests.add_metric([str(status)], count)
            yield requests
            refused = CounterMetricFamily("bqserver_refused", "Refusals by error code.", labels=["code"])
            for code, count in sorted(counters.rejections.items()):
                refused.add_metric([code], count)
            yield refused


class MetricsHandler(Handler):
    """For programs with a token: the load of a server is not public."""

    async def get(self) -> None:
        if not AVAILABLE:
            raise ApiError(404, "not_found", "metrics need a package: pip install prometheus_client")
        if not self.identity.is_program and not self.context.authenticator.is_open:
            raise ApiError(403, "forbidden", "metrics are read with a token")
        registry = CollectorRegistry()
        registry.register(HubCollector(self.context.hub))
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        await self.finish_json(generate_latest(registry))
