"""The frames of the relay, read without any decoder."""


def unframed(data: bytes) -> list[bytes]:
    """The messages in the relay's own frames, read by masking each with a key of zeros."""
    messages, at = [], 0
    while at < len(data):
        assert data[at] == 0x81, "every data frame is a whole text frame"
        length, head = data[at + 1], at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, head = int.from_bytes(data[head : head + size]), head + size
        messages.append(data[head : head + length])
        at = head + length
    assert at == len(data)
    return messages
