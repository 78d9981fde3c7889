"""What fuzzing has learnt, replayed: needs no fuzzer."""

import importlib

import pytest

from tests.fuzz import TARGETS, corpus


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_and_every_past_crasher(target: str) -> None:
    one_input = importlib.import_module(f"tests.fuzz.{target}").one_input
    for data in corpus.read(corpus.corpus_of(target)) + corpus.read(corpus.crashers_of(target)):
        try:
            one_input(data)
        except Exception as fault:
            fault.add_note(f"{target}: {data!r}")
            raise
