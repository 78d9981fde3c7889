"""Small relays of the same wire behaviour, each on what people would pick; and floors below them.

They join phones and binaries by server-id and pass frames in envelopes, and have none of the rest:
no limits, no heartbeats of ours, no metrics, no log.
"""
