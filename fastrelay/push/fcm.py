"""Sends wakes: data-only messages of high priority through FCM's HTTP v1 API."""

import json
from typing import NamedTuple

from fastrelay.policy.counters.wakes import Outcome
from fastrelay.push.access_token import AccessTokens, TokenFetchFailed
from fastrelay.push.https import (
    CallFailed,
    HttpsClient,
    Reply,
    describe_refusal,
    message_id,
    reason_codes,
)


class SendResult(NamedTuple):
    """The result of sending one wake.

    Attributes:
        outcome: any outcome but ``DROPPED``.
        err: the reason of a failure, which may be logged; empty if the wake was sent.
        message_id: FCM's name for the message, which may be logged; empty if it gave none.
    """

    outcome: Outcome
    err: str = ""
    message_id: str = ""


class FcmSender:
    """Wakes the devices of one Firebase project.

    Args:
        client: makes the calls; :meth:`close` closes it.
        tokens: provides the access tokens; :meth:`close` closes it.
        endpoint: the base URL of the API, without a slash at the end.
        project_id: the project to which the devices belong.
    """

    def __init__(
        self, client: HttpsClient, tokens: AccessTokens, endpoint: str, project_id: str
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._url = f"{endpoint}/v1/projects/{project_id}/messages:send"

    async def send(self, device_token: str) -> SendResult:
        """Wake the device with the registration token ``device_token``.

        Makes at most two calls to the API and two to the token endpoint. Failures are returned,
        not raised.
        """
        try:
            access = await self._tokens.get()
            reply = await self._post(access, device_token)
            if reply.status == 401:  # revoked early, or our clock stood still in a suspended VM
                access = await self._tokens.get(rejected=access)
                reply = await self._post(access, device_token)
        except TokenFetchFailed as failure:
            return SendResult(Outcome.TOKEN_FETCH_FAILED, f"access token: {failure}")
        except CallFailed as failure:
            return SendResult(Outcome.SEND_FAILED, str(failure))
        if reply.status == 200:
            return SendResult(Outcome.SENT, message_id=message_id(reply, device_token, access))
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
        """Close the HTTPS client and cancel a token fetch. No send may be under way."""
        await self._tokens.close()
        await self._client.close()
