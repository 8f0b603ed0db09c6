"""Calls for crawlers. A crawler is an External configured to feed one stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwater_client import resource
from headwater_client.models.objects import Crawler
from headwater_client.requests import Call, D, Pages, Ref, Resource, endpoint, fid_of, given, paginated, reading


class Crawlers(Resource[D]):
    """``hw.crawlers``."""

    @endpoint
    def create(
        self,
        external: Ref,
        stream: Ref,
        name: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        credential: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        timeout: int | None = None,
        publish: str | None = None,
        mode: str | None = None,
        scope: Sequence[str] | None = None,
        gates: Mapping[str, float | None] | None = None,
        retries: int | None = None,
        expect: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> Call[Crawler]:
        """Create a crawler: configure an External to feed a stream.

        Args:
            external: the External.
            stream: the stream; it must not have another crawler.
            name: the crawler's name.
            params: values for the External's parameters.
            credential: ``user`` and ``password``, or ``fid`` of a login's credential: sent to the External's server,
                stored encrypted, never returned.
            schedule: when to run automatically: ``cron`` with ``timezone``, or ``every`` N seconds; ``jitter``.
            timeout: seconds of silence after which a running task times out.
            publish: ``live``: documents are visible as they are uploaded; ``on_success``: all at once when the task
                ends with 200.
            mode: ``merge``: runs add and change documents; ``snapshot``: when a run ends with 200, the stream shows
                what it brought, and nothing else.
            scope: conditions on the documents that a snapshot may hide, such as ``shop=north``; all unless given.
            gates: ``min_docs``, ``max_shrink``, ``max_rejected``: conditions for a task to be published.
            retries: number of automatic retries of a task that failed or timed out.
            expect: when a run is expected to have ended with 200, whoever starts it: ``cron`` with ``timezone``, or
                ``every`` N seconds; ``grace`` in seconds. If none did, that is the event ``crawler.missed``.
            meta: ``description``, ``image``, and any other metadata.
            version: version of the External that ``params`` are for, if not the one in use.
        """
        links = [{"from": {"type": "streams", "fid": fid_of(stream)}}]
        body = {
            **given(params=params, credential=credential, schedule=schedule, timeout=timeout, publish=publish),
            **given(
                mode=mode, scope=None if scope is None else list(scope), gates=gates, retries=retries, expect=expect
            ),
            "meta": {**resource.meta_of(name, meta), "links": links},
        }
        path = f"/actions/externals/{fid_of(external)}/crawler"
        return Call("POST", path, reading(Crawler.read), params=given(version=version), json=body)

    @endpoint
    def get(self, crawler: Ref) -> Call[Crawler]:
        """Read a crawler."""
        return resource.getting(Crawler, "crawlers", crawler)

    @paginated
    def list(
        self,
        *,
        external: Ref | None = None,
        stream: Ref | None = None,
        state: str | None = None,
        name: str | None = None,
        fid: str | None = None,
    ) -> Pages[Crawler]:
        """Iterate over crawlers, newest first; ``fid`` is the start of one."""
        filters = given(
            external=None if external is None else fid_of(external),
            stream=None if stream is None else fid_of(stream),
            state=state,
            name=name,
            fid=fid,
        )
        return resource.listing(Crawler, "crawlers", filters)

    @endpoint
    def update(
        self,
        crawler: Ref,
        fields: Mapping[str, Any],
        *,
        if_version: int | None = None,
        version: int | None = None,
    ) -> Call[Crawler]:
        """Merge fields into a crawler (RFC 7396: null removes); ``version`` is as in ``create``."""
        asked = given(version=version)
        return resource.writing(
            Crawler, "PATCH", "crawlers", crawler, fields=fields, if_version=if_version, params=asked
        )

    @endpoint
    def replace(
        self,
        crawler: Ref,
        fields: Mapping[str, Any],
        *,
        if_version: int | None = None,
        version: int | None = None,
    ) -> Call[Crawler]:
        """Overwrite a crawler's fields; omitted fields are reset to their defaults."""
        asked = given(version=version)
        return resource.writing(Crawler, "PUT", "crawlers", crawler, fields=fields, if_version=if_version, params=asked)

    @endpoint
    def delete(self, crawler: Ref, *, cascade: bool = False) -> Call[None]:
        """Delete a crawler; with ``cascade`` also its tasks and their documents, permanently."""
        return resource.deleting("crawlers", crawler, cascade=cascade)
