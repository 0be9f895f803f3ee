"""Range asymmetric numeral systems with fixed frequencies (SPEC.md, "rANS stream").

Duda, "Asymmetric numeral systems" (arXiv 1311.2540), the range variant; four states that take
turns (Giesen, "Interleaved entropy coders", arXiv 1402.3392), so that a processor works on four
symbols at a time. A state has 32 bits and gives off 16 of them at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.errors import RansStateError, StreamEndError, TrailingBitsError

SCALE_BITS = 12
SCALE = 1 << SCALE_BITS  # that a stream's frequencies add up to
MAX_ALPHABET = 256
LANES = 4
_LOW = 1 << 16  # where each state begins and ends; it is never below
_STATE_BYTES = 4 * LANES


def frequencies(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Frequencies in units of 1/4096, at least one for each symbol that occurs.

    Args:
        counts: int64 [k], k <= 256; how often each symbol occurs.

    Returns:
        int32 [k], of sum 4096. Where nothing occurs, all goes to symbol 0.
    """
    total = int(counts.sum())
    result = np.zeros(len(counts), np.int32)
    if total == 0:
        result[0] = SCALE
        return result
    used = counts > 0
    result[used] = np.maximum(1, counts[used] * SCALE // total)
    # What is over or missing goes where it changes the length least: per unit, n log2(1 + 1/f).
    while (rest := SCALE - int(result.sum())) != 0:
        step = 1 if rest > 0 else -1
        able = used if step > 0 else result > 1
        safe = np.where(able, result, 2).astype(np.float64)
        change = counts * np.log2((safe + step) / safe)
        result[np.argmax(np.where(able, change, -np.inf))] += step
    return result


def encode(symbols: NDArray[np.uint8], freqs: NDArray[np.int32]) -> bytes:
    """The stream of these symbols: final states, then 16-bit words; nothing for no symbols.

    Args:
        symbols: uint8 [n], each of a frequency above 0.
        freqs: int32 [k] of sum 4096.
    """
    if not len(symbols):
        return b""
    freq: list[int] = freqs.tolist()
    start: list[int] = (np.cumsum(freqs) - freqs).tolist()
    states, words = [_LOW] * LANES, []
    lane = len(symbols) % LANES
    for symbol in symbols[::-1].tolist():
        lane = (lane - 1) % LANES
        state, own = states[lane], freq[symbol]
        if state >= own << 32 - SCALE_BITS:
            words.append(state & 0xFFFF)
            state >>= 16
        states[lane] = (state // own << SCALE_BITS) + state % own + start[symbol]
    return np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()


def decode(stream: memoryview, count: int, freqs: NDArray[np.int32], where: str) -> bytes:
    """Reads `count` symbols from the beginning of a stream.

    Args:
        stream: the whole of it.
        count: how many symbols it holds.
        freqs: int32 [k] of sum 4096.
        where: what the stream is, the opening of every message.

    Raises:
        StreamEndError: it ends before its last symbol.
        TrailingBitsError: it goes on.
        RansStateError: its states do not end where they began.
    """
    if count and len(stream) < _STATE_BYTES:
        raise StreamEndError(f"{where}: ends within its states")
    if not count:
        if len(stream):
            raise TrailingBitsError(f"{where}: has {len(stream)} bytes for no symbols")
        return b""
    states: list[int] = np.frombuffer(stream[:_STATE_BYTES], "<u4").tolist()
    num_words = (len(stream) - _STATE_BYTES) // 2
    if (len(stream) - _STATE_BYTES) % 2:
        raise TrailingBitsError(f"{where}: has half a word")
    words: list[int] = np.frombuffer(stream[_STATE_BYTES:], "<u2").tolist()
    symbol_at: list[int] = np.repeat(np.arange(len(freqs)), freqs).tolist()
    freq: list[int] = freqs.tolist()
    start: list[int] = (np.cumsum(freqs) - freqs).tolist()
    symbols, at = bytearray(count), 0
    for index in range(count):
        state = states[index % LANES]
        slot = state & SCALE - 1
        symbol = symbol_at[slot]
        state = freq[symbol] * (state >> SCALE_BITS) + slot - start[symbol]
        if state < _LOW:
            if at == num_words:
                raise StreamEndError(f"{where}: ends at symbol {index} of {count}")
            state = state << 16 | words[at]
            at += 1
        states[index % LANES] = state & 0xFFFFFFFF
        symbols[index] = symbol
    if at < num_words:
        raise TrailingBitsError(f"{where}: goes on for {num_words - at} words")
    if states != [_LOW] * LANES:
        raise RansStateError(f"{where}: its states do not end where they began")
    return bytes(symbols)
