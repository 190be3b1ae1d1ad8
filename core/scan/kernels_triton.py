"""The scan's two kernels, in Triton. ``core/scan/kernels.py`` launches and documents them, and has their reference.

This file is imported late and only where the kernels run, as Triton is an optional part of torch. It uses builtins of
``triton.language`` but none of its library functions: so Triton's interpreter runs it even if the library was imported
before the interpreter was enabled. Conditions are widened to (BLOCK,) before they are compared, for the interpreter
too, which turns a scalar condition into a number. For the compiler both are the same.
"""

import triton
import triton.language as tl

from vlmscope.core.method.distribution import BINS, BITS_OFFSET, BITS_SHIFT
from vlmscope.core.method.packed import HALF, STEP

SPILL = tl.constexpr(252)  # tokens that a counter of 8 bits certainly holds; a multiple of PACK
PACK = tl.constexpr(12)  # tokens that a counter of 4 bits certainly holds; a multiple of the 4 taken at once
PAIRS = tl.constexpr(0x3333333333333333)  # every other counter of 2 bits
NIBBLES = tl.constexpr(0x0F0F0F0F0F0F0F0F)  # every other counter of 4 bits
SHIFT = tl.constexpr(BITS_SHIFT)
OFFSET = tl.constexpr(BITS_OFFSET)
LAST = tl.constexpr(BINS - 1)
INFINITY = tl.constexpr(float("inf"))
LARGEST = tl.constexpr(3.4028234663852886e38)  # of float32
LEVEL = tl.constexpr(STEP)  # bytes from a level of a small map to the next
HALF_LEVEL = tl.constexpr(HALF)


@triton.jit
def _kind(  # noqa: PLR0915  # each call of a device function in the loop costs the interpreter a millisecond
    base: tl.tensor,
    places: tl.tensor,
    lane: tl.tensor,
    start: tl.tensor,
    stop: tl.tensor,
    stride: tl.tensor,
    poison: tl.tensor,
    histogram: tl.tensor,
    KEEP: tl.constexpr,
    BLOCK: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Reduce the tokens of one kind, each read once. Every value is (BLOCK,), one or two registers per neuron.

    ``places`` has the positions of the tokens, from ``start`` to ``stop`` those of this kind; a few after ``stop`` are
    read as well.

    Tokens are taken four at a time, so that their loads are in flight together. The four are sorted (10 operations) and
    merged into the 8 largest as sorted lists (28): 9.5 operations per token. Inserting one by one costs 15.

    The histogram is counted in registers. A token of bin k adds 1 << 2k to a 64-bit word of 32 counters of 2 bits,
    about 5 operations and no comparison. Four tokens are two such words, which are widened to counters of 4 bits
    (about 4 operations per token). Every 12 tokens these are widened to counters of 8 bits (2 per token), and every 252
    tokens the counters that are not 0 are added in memory. Comparing a token with each of 32 bins costs 64 operations
    and 32 registers; counters of 8 bits alone, chosen among four words, cost 25 operations. An atomic for every token
    costs more than either.

    Returns:
        The KEEP largest, descending (those beyond KEEP are -inf), the place of the first largest, sum, sum of squares,
        and ``poison``, which is NaN from the first NaN or infinity on.
    """
    zero = tl.full((BLOCK,), 0, tl.int32)
    nothing = tl.full((BLOCK,), 0, tl.int64)
    t0 = tl.full((BLOCK,), -INFINITY, tl.float32)
    t1, t2, t3, t4, t5, t6, t7 = t0, t0, t0, t0, t0, t0, t0
    peak = zero - 1
    total = tl.full((BLOCK,), 0.0, tl.float32)
    squares = total
    for spill_at in range(start, stop, SPILL):
        b0, b1, b2, b3 = nothing, nothing, nothing, nothing  # 8 bits; word i has bins i, 4 + i, ... 28 + i
        for pack_at in range(spill_at, tl.minimum(spill_at + SPILL, stop), PACK):
            even, odd = nothing, nothing  # 4 bits; bins 0, 2, ... 30 and 1, 3, ... 31
            for group in tl.static_range(0, PACK, 4):
                at = pack_at + group
                v0, v1, v2, v3 = at + zero < stop, at + 1 + zero < stop, at + 2 + zero < stop, at + 3 + zero < stop
                p0, p1, p2, p3 = (
                    tl.load(places + at),
                    tl.load(places + at + 1),
                    tl.load(places + at + 2),
                    tl.load(places + at + 3),
                )
                z0 = tl.load(base + p0 * stride, mask=lane & v0, other=0.0).to(tl.float32)
                z1 = tl.load(base + p1 * stride, mask=lane & v1, other=0.0).to(tl.float32)
                z2 = tl.load(base + p2 * stride, mask=lane & v2, other=0.0).to(tl.float32)
                z3 = tl.load(base + p3 * stride, mask=lane & v3, other=0.0).to(tl.float32)
                total += (z0 + z1) + (z2 + z3)
                squares += (z0 * z0 + z1 * z1) + (z2 * z2 + z3 * z3)
                poison += (z0 * 0.0 + z1 * 0.0) + (z2 * 0.0 + z3 * 0.0)
                # A token past the end is -inf in the order and adds 0 to the histogram.
                k0, k1 = z0.to(tl.int32, bitcast=True) >> SHIFT, z1.to(tl.int32, bitcast=True) >> SHIFT
                k2, k3 = z2.to(tl.int32, bitcast=True) >> SHIFT, z3.to(tl.int32, bitcast=True) >> SHIFT
                k0 = tl.where(k0 > 0, tl.minimum(tl.maximum(k0 - OFFSET, 1), LAST), 0).to(tl.int64)
                k1 = tl.where(k1 > 0, tl.minimum(tl.maximum(k1 - OFFSET, 1), LAST), 0).to(tl.int64)
                k2 = tl.where(k2 > 0, tl.minimum(tl.maximum(k2 - OFFSET, 1), LAST), 0).to(tl.int64)
                k3 = tl.where(k3 > 0, tl.minimum(tl.maximum(k3 - OFFSET, 1), LAST), 0).to(tl.int64)
                two = (v0.to(tl.int64) << (k0 * 2)) + (v1.to(tl.int64) << (k1 * 2))
                more = (v2.to(tl.int64) << (k2 * 2)) + (v3.to(tl.int64) << (k3 * 2))
                even += (two & PAIRS) + (more & PAIRS)
                odd += ((two >> 2) & PAIRS) + ((more >> 2) & PAIRS)
                z0 = tl.where(v0, z0, -INFINITY)
                z1 = tl.where(v1, z1, -INFINITY)
                z2 = tl.where(v2, z2, -INFINITY)
                z3 = tl.where(v3, z3, -INFINITY)
                # Sort the four, descending: a, b, c, d.
                a, b = tl.maximum(z0, z1), tl.minimum(z0, z1)
                c, d = tl.maximum(z2, z3), tl.minimum(z2, z3)
                a, c = tl.maximum(a, c), tl.minimum(a, c)
                b, d = tl.maximum(b, d), tl.minimum(b, d)
                b, c = tl.maximum(b, c), tl.minimum(b, c)
                # Strictly larger, and the first among the four: the first of equals stays.
                first = tl.where(z0 == a, 0, tl.where(z1 == a, 1, tl.where(z2 == a, 2, 3)))
                peak = tl.where(a > t0, at - start + first, peak)
                # The larger of one list and the other reversed are the largest of both, rising then falling.
                if KEEP == 8:
                    t4, t5, t6, t7 = tl.maximum(t4, d), tl.maximum(t5, c), tl.maximum(t6, b), tl.maximum(t7, a)
                    t0, t4 = tl.maximum(t0, t4), tl.minimum(t0, t4)
                    t1, t5 = tl.maximum(t1, t5), tl.minimum(t1, t5)
                    t2, t6 = tl.maximum(t2, t6), tl.minimum(t2, t6)
                    t3, t7 = tl.maximum(t3, t7), tl.minimum(t3, t7)
                    t4, t6 = tl.maximum(t4, t6), tl.minimum(t4, t6)
                    t5, t7 = tl.maximum(t5, t7), tl.minimum(t5, t7)
                    t4, t5 = tl.maximum(t4, t5), tl.minimum(t4, t5)
                    t6, t7 = tl.maximum(t6, t7), tl.minimum(t6, t7)
                else:
                    t0, t1, t2, t3 = tl.maximum(t0, d), tl.maximum(t1, c), tl.maximum(t2, b), tl.maximum(t3, a)
                t0, t2 = tl.maximum(t0, t2), tl.minimum(t0, t2)
                t1, t3 = tl.maximum(t1, t3), tl.minimum(t1, t3)
                t0, t1 = tl.maximum(t0, t1), tl.minimum(t0, t1)
                t2, t3 = tl.maximum(t2, t3), tl.minimum(t2, t3)
            b0 += even & NIBBLES
            b1 += odd & NIBBLES
            b2 += (even >> 4) & NIBBLES
            b3 += (odd >> 4) & NIBBLES
        for byte in tl.static_range(8):
            to = histogram + 4 * byte
            n0, n1 = ((b0 >> (8 * byte)) & 0xFF).to(tl.int32), ((b1 >> (8 * byte)) & 0xFF).to(tl.int32)
            n2, n3 = ((b2 >> (8 * byte)) & 0xFF).to(tl.int32), ((b3 >> (8 * byte)) & 0xFF).to(tl.int32)
            tl.atomic_add(to, n0, mask=lane & (n0 > 0), sem="relaxed")
            tl.atomic_add(to + 1, n1, mask=lane & (n1 > 0), sem="relaxed")
            tl.atomic_add(to + 2, n2, mask=lane & (n2 > 0), sem="relaxed")
            tl.atomic_add(to + 3, n3, mask=lane & (n3 > 0), sem="relaxed")
    return t0, t1, t2, t3, t4, t5, t6, t7, peak, total, squares, poison


@triton.jit
def _template(
    base: tl.tensor,
    places: tl.tensor,
    lane: tl.tensor,
    start: tl.tensor,
    stop: tl.tensor,
    stride: tl.tensor,
    highest: tl.tensor,
    poison: tl.tensor,
    BLOCK: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Maximum and poison over template tokens."""
    zero = tl.full((BLOCK,), 0, tl.int32)
    for at in range(start, stop, 4):
        v1, v2, v3 = at + 1 + zero < stop, at + 2 + zero < stop, at + 3 + zero < stop
        p0, p1, p2, p3 = (
            tl.load(places + at),
            tl.load(places + at + 1),
            tl.load(places + at + 2),
            tl.load(places + at + 3),
        )
        z0 = tl.load(base + p0 * stride, mask=lane, other=0.0).to(tl.float32)
        z1 = tl.load(base + p1 * stride, mask=lane & v1, other=0.0).to(tl.float32)
        z2 = tl.load(base + p2 * stride, mask=lane & v2, other=0.0).to(tl.float32)
        z3 = tl.load(base + p3 * stride, mask=lane & v3, other=0.0).to(tl.float32)
        poison += (z0 * 0.0 + z1 * 0.0) + (z2 * 0.0 + z3 * 0.0)
        z1, z2, z3 = tl.where(v1, z1, z0), tl.where(v2, z2, z0), tl.where(v3, z3, z0)
        highest = tl.maximum(highest, tl.maximum(tl.maximum(z0, z1), tl.maximum(z2, z3)))
    return highest, poison


@triton.jit
def reduce_kernel(
    activation: tl.tensor,
    order: tl.tensor,
    ends: tl.tensor,
    maximum: tl.tensor,
    visual: tl.tensor,
    text: tl.tensor,
    peak: tl.tensor,
    sums: tl.tensor,
    histogram: tl.tensor,
    finite: tl.tensor,
    neurons: tl.tensor,
    order_sample: tl.tensor,
    activation_sample: tl.tensor,
    activation_token: tl.tensor,
    maximum_sample: tl.tensor,
    visual_sample: tl.tensor,
    visual_rank: tl.tensor,
    text_sample: tl.tensor,
    text_rank: tl.tensor,
    peak_sample: tl.tensor,
    peak_kind: tl.tensor,
    sums_sample: tl.tensor,
    sums_kind: tl.tensor,
    sums_power: tl.tensor,
    histogram_kind: tl.tensor,
    histogram_neuron: tl.tensor,
    finite_sample: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """One program: one sample, BLOCK neurons. A stride is named after what it advances by one."""
    sample = tl.program_id(0).to(tl.int64)
    neuron = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    lane = neuron < neurons
    base = activation + sample * activation_sample + neuron
    places = order + sample * order_sample
    visual_end = tl.load(ends + sample * 3)
    text_end = tl.load(ends + sample * 3 + 1)
    end = tl.load(ends + sample * 3 + 2)
    counts = histogram + neuron.to(tl.int64) * histogram_neuron
    poison = tl.full((BLOCK,), 0.0, tl.float32)
    highest = tl.full((BLOCK,), -INFINITY, tl.float32)

    v0, v1, v2, v3, v4, v5, v6, v7, visual_peak, visual_sum, visual_squares, poison = _kind(
        base, places, lane, 0, visual_end, activation_token, poison, counts, 8, BLOCK
    )
    counts += histogram_kind
    w0, w1, w2, w3, _w4, _w5, _w6, _w7, text_peak, text_sum, text_squares, poison = _kind(
        base, places, lane, visual_end, text_end, activation_token, poison, counts, 4, BLOCK
    )
    highest, poison = _template(base, places, lane, text_end, end, activation_token, highest, poison, BLOCK)

    highest = tl.maximum(highest, tl.maximum(v0, w0))
    tl.store(maximum + sample * maximum_sample + neuron, highest, mask=lane)
    to = visual + sample * visual_sample + neuron
    tl.store(to, v0, mask=lane)
    tl.store(to + visual_rank, v1, mask=lane)
    tl.store(to + 2 * visual_rank, v2, mask=lane)
    tl.store(to + 3 * visual_rank, v3, mask=lane)
    tl.store(to + 4 * visual_rank, v4, mask=lane)
    tl.store(to + 5 * visual_rank, v5, mask=lane)
    tl.store(to + 6 * visual_rank, v6, mask=lane)
    tl.store(to + 7 * visual_rank, v7, mask=lane)
    to = text + sample * text_sample + neuron
    tl.store(to, w0, mask=lane)
    tl.store(to + text_rank, w1, mask=lane)
    tl.store(to + 2 * text_rank, w2, mask=lane)
    tl.store(to + 3 * text_rank, w3, mask=lane)
    to = peak + sample * peak_sample + neuron
    tl.store(to, visual_peak, mask=lane)
    tl.store(to + peak_kind, text_peak, mask=lane)
    to = sums + sample * sums_sample + neuron
    tl.store(to, visual_sum, mask=lane)
    tl.store(to + sums_power, visual_squares, mask=lane)
    tl.store(to + sums_kind, text_sum, mask=lane)
    tl.store(to + sums_kind + sums_power, text_squares, mask=lane)
    # Every program and lane that writes here writes the same 0, so no order among them is needed.
    to = finite + sample * finite_sample + neuron * 0
    tl.store(to, tl.full((BLOCK,), 0, tl.uint8), mask=lane & (poison != poison))  # noqa: PLR0124  # NaN alone differs from itself


@triton.jit
def _either(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    return a | b


@triton.jit
def _threshold_key(keys: tl.tensor, lane: tl.tensor, entries: tl.tensor) -> tuple[tl.tensor, ...]:
    """The smallest of each neuron's keys, and its first place."""
    threshold_key = tl.load(keys, mask=lane, other=0)
    place = lane.to(tl.int32) * 0
    for entry in range(1, entries):
        key = tl.load(keys + entry, mask=lane, other=0)
        place = tl.where(key < threshold_key, entry, place)
        threshold_key = tl.minimum(threshold_key, key)
    return threshold_key, place


@triton.jit
def _byte(x: tl.tensor, scale: tl.tensor) -> tl.tensor:
    return (tl.maximum(x.to(tl.float32), 0.0) * scale[:, None] + 0.5).to(tl.int32)


@triton.jit
def insert_kernel(
    activation: tl.tensor,
    order: tl.tensor,
    ends: tl.tensor,
    cells: tl.tensor,
    scores: tl.tensor,
    samples: tl.tensor,
    finite: tl.tensor,
    keys: tl.tensor,
    visual: tl.tensor,
    text: tl.tensor,
    batch: tl.tensor,
    neurons: tl.tensor,
    entries: tl.tensor,
    cells_deep: tl.tensor,
    cells_count: tl.tensor,
    visual_count: tl.tensor,
    text_count: tl.tensor,
    order_sample: tl.tensor,
    activation_sample: tl.tensor,
    activation_token: tl.tensor,
    scores_sample: tl.tensor,
    keys_neuron: tl.tensor,
    visual_neuron: tl.tensor,
    visual_entry: tl.tensor,
    text_neuron: tl.tensor,
    text_entry: tl.tensor,
    BLOCK: tl.constexpr,
    TOKENS: tl.constexpr,
    VALUES: tl.constexpr,
) -> None:
    """One program: BLOCK neurons, the samples in turn, so that an entry has one writer and no race.

    A map is read along the neurons and written along the tokens, as each is in memory, TOKENS bytes at a time. VALUES
    is 2 where the maps are small ones, of which a byte has two values, else 1.
    """
    neuron = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    lane = neuron < neurons
    wide = neuron.to(tl.int64)
    rows = keys + wide * keys_neuron
    zero = tl.full((BLOCK,), 0, tl.int32)
    threshold_key, place = _threshold_key(rows, lane, entries)
    for sample in range(batch):
        score = tl.load(scores + sample * scores_sample + neuron, mask=lane, other=0.0)
        bits = tl.where(score == 0.0, 0.0, score).to(tl.int32, bitcast=True)  # -0.0 is 0.0
        bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        key = (bits.to(tl.int64) << 32) | (0xFFFFFFFF - tl.load(samples + sample))
        better = lane & (key > threshold_key) & (tl.load(finite + sample) + zero != 0)
        if tl.reduce(better.to(tl.int32), 0, _either) != 0:
            base = activation + sample * tl.cast(activation_sample, tl.int64) + wide
            # At most the largest float32: 0 times infinity would be NaN.
            scale = tl.where(score > 0, tl.minimum(tl.div_rn(255.0, tl.where(score > 0, score, 1.0)), LARGEST), 0.0)
            to = visual + wide * visual_neuron + place.to(tl.int64) * visual_entry
            tokens = cells + sample * cells_deep * cells_count
            for start in range(0, visual_count, TOKENS):
                byte = start + tl.arange(0, TOKENS)
                mask = better[:, None] & (byte < visual_count)[None, :]
                out = tl.full((BLOCK, TOKENS), 0, tl.int32)
                for half in tl.static_range(VALUES):
                    token = byte * VALUES + half
                    x = tl.full((BLOCK, TOKENS), 0.0, tl.float32)
                    for deep in range(cells_deep):
                        at = tl.load(tokens + deep * cells_count + token, mask=token < cells_count, other=-1)
                        one = base[:, None] + (at * activation_token)[None, :]
                        x = tl.maximum(x, tl.load(one, mask=mask & (at >= 0)[None, :], other=0.0).to(tl.float32))
                    found = _byte(x, scale)
                    out += found if VALUES == 1 else ((found + HALF_LEVEL) // LEVEL) << (4 * half)
                tl.store(to[:, None] + byte[None, :], out.to(tl.uint8), mask=mask)
            to = text + wide * text_neuron + place.to(tl.int64) * text_entry
            visual_end = tl.load(ends + sample * 3)
            words = tl.load(ends + sample * 3 + 1) - visual_end
            places = order + sample * order_sample + visual_end
            for start in range(0, text_count, TOKENS):
                byte = start + tl.arange(0, TOKENS)
                mask = better[:, None] & (byte < text_count)[None, :]
                out = tl.full((BLOCK, TOKENS), 0, tl.int32)
                for half in tl.static_range(VALUES):
                    token = byte * VALUES + half
                    at = tl.load(places + token, mask=token < words, other=0) * activation_token
                    x = tl.load(base[:, None] + at[None, :], mask=mask & (token < words)[None, :], other=0.0)
                    found = _byte(x, scale)
                    out += found if VALUES == 1 else ((found + HALF_LEVEL) // LEVEL) << (4 * half)
                tl.store(to[:, None] + byte[None, :], out.to(tl.uint8), mask=mask)
            # Other threads read a key than write it: the barriers order all reads before and after the write.
            tl.debug_barrier()
            tl.store(rows + place, key, mask=better)
            tl.debug_barrier()
            threshold_key, place = _threshold_key(rows, lane, entries)
