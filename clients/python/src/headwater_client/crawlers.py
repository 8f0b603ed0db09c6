"""Crawlers: an External set up for a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater_client import parts
from headwater_client.objects import Crawler
from headwater_client.questions import D, Pages, Part, Question, Ref, call, fid_of, given, reading, walk


class Crawlers(Part[D]):
    """``hw.crawlers``."""

    @call
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
        gates: Mapping[str, float | None] | None = None,
        retries: int | None = None,
        meta: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> Question[Crawler]:
        """Set an External up to feed a stream.

        Args:
            external: the External.
            stream: the stream, which no other crawler feeds.
            name: what the crawler is called.
            params: values for the External's parameters.
            credential: ``user`` and ``password``, or ``fid`` of a login's credential: sent to the External's server,
                kept encrypted, never returned.
            schedule: when to run by itself: ``cron`` with ``timezone``, or ``every`` so many seconds; ``jitter``.
            timeout: seconds of silence after which a running task times out.
            publish: ``live``: documents show as they come; ``on_success``: at once when the task ends with 200.
            gates: ``min_docs``, ``max_shrink``, ``max_rejected``: what a run must hold to, or it is not published.
            retries: how often a task that failed or timed out is retried by itself.
            meta: ``description``, ``image``, and whatever else is kept with it.
            version: of the External, that ``params`` are for, where it is not the one in use.
        """
        links = [{"from": {"type": "streams", "fid": fid_of(stream)}}]
        body = {
            **given(params=params, credential=credential, schedule=schedule, timeout=timeout, publish=publish),
            **given(gates=gates, retries=retries),
            "meta": {**parts.meta_of(name, meta), "links": links},
        }
        path = f"/actions/externals/{fid_of(external)}/crawler"
        return Question("POST", path, reading(Crawler.read), params=given(version=version), json=body)

    @call
    def get(self, crawler: Ref) -> Question[Crawler]:
        """Read a crawler."""
        return parts.getting(Crawler, "crawlers", crawler)

    @walk
    def list(
        self,
        *,
        external: Ref | None = None,
        stream: Ref | None = None,
        state: str | None = None,
        name: str | None = None,
    ) -> Pages[Crawler]:
        """Iterate over crawlers, newest first."""
        filters = given(
            external=None if external is None else fid_of(external),
            stream=None if stream is None else fid_of(stream),
            state=state,
            name=name,
        )
        return parts.listing(Crawler, "crawlers", filters)

    @call
    def update(
        self,
        crawler: Ref,
        fields: Mapping[str, Any],
        *,
        if_version: int | None = None,
        version: int | None = None,
    ) -> Question[Crawler]:
        """Merge fields into a crawler (RFC 7396: null removes); ``version`` is as in ``create``."""
        asked = given(version=version)
        return parts.writing(Crawler, "PATCH", "crawlers", crawler, fields=fields, if_version=if_version, params=asked)

    @call
    def replace(
        self,
        crawler: Ref,
        fields: Mapping[str, Any],
        *,
        if_version: int | None = None,
        version: int | None = None,
    ) -> Question[Crawler]:
        """Overwrite a crawler's fields; those that are not given go back to their defaults."""
        asked = given(version=version)
        return parts.writing(Crawler, "PUT", "crawlers", crawler, fields=fields, if_version=if_version, params=asked)

    @call
    def delete(self, crawler: Ref, *, cascade: bool = False) -> Question[None]:
        """Delete a crawler; with ``cascade`` its tasks and their documents too, for good."""
        return parts.deleting("crawlers", crawler, cascade=cascade)
