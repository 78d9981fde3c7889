"""Sends one wake: a data-only high-priority message through FCM's HTTP v1 API."""

import json
from typing import NamedTuple

from fastrelay.policy.counters.wakes import Outcome
from fastrelay.push.access_token import AccessTokens, TokenFetchFailed
from fastrelay.push.https import CallFailed, HttpsClient, Reply, describe_refusal, reason_codes


class SendResult(NamedTuple):
    """How a send ended.

    Attributes:
        outcome: never ``DROPPED``.
        err: why, fit for a log; empty when it was sent.
    """

    outcome: Outcome
    err: str = ""


class FcmSender:
    """Wakes devices of one project.

    Args:
        client: makes the calls; closed with this.
        tokens: says what to authorise them with; closed with this.
        endpoint: base URL of the API.
        project_id: the project the devices belong to.
    """

    def __init__(
        self, client: HttpsClient, tokens: AccessTokens, endpoint: str, project_id: str
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._url = f"{endpoint}/v1/projects/{project_id}/messages:send"

    async def send(self, device_token: str) -> SendResult:
        """Wake a device; at most two calls to each of the two endpoints."""
        try:
            access = await self._tokens.get()
            reply = await self._post(access, device_token)
            if reply.status == 401:  # revoked before its time, or our clock stood still
                access = await self._tokens.get(rejected=access)
                reply = await self._post(access, device_token)
        except TokenFetchFailed as failure:
            return SendResult(Outcome.TOKEN_FETCH_FAILED, f"access token: {failure}")
        except CallFailed as failure:
            return SendResult(Outcome.SEND_FAILED, str(failure))
        if reply.status == 200:
            return SendResult(Outcome.SENT)
        gone = reply.status == 404 and "UNREGISTERED" in reason_codes(reply.body)
        outcome = Outcome.UNREGISTERED if gone else Outcome.SEND_FAILED
        return SendResult(outcome, describe_refusal(reply, device_token, access))

    async def _post(self, access_token: str, device_token: str) -> Reply:
        message = {"token": device_token, "android": {"priority": "HIGH"}}
        headers = {"Authorization": f"Bearer {access_token}", "Content-Type": "application/json"}
        return await self._client.post(
            self._url, headers, json.dumps({"message": message}).encode()
        )

    async def close(self) -> None:
        """Drop what it holds; nobody may be sending any more."""
        await self._tokens.close()
        await self._client.close()
