/* Raw deflate (RFC 1951), several literals or one match at a time while there are input and room
   to spare, else symbol by symbol. What is accepted is what zlib accepts. */
#include "inflate.h"

#include <string.h>

enum { HEAD, STORED_SIZE, STORED, COUNTS, PRECODE, LENGTHS, CODES, MATCH, ENDED, BROKEN };

/* An entry of a table. Bits 0 to 5: how many bits it takes, extra bits included.
   A literal: bit 31; one more: bit 30; the literals in bits 8 to 15 and 16 to 23; how many bits the
   first one takes in bits 24 to 27.
   A length or distance: the least in bits 16 to 30, the code's own bits in bits 8 to 11.
   All else: bit 15, and what it is. */
#define IS_LITERAL 0x80000000u
#define IS_PAIR 0x40000000u
#define IS_OTHER 0x8000u
#define IS_TABLE 0x4000u /* its place from bit 16 on, the bits that it takes in bits 8 to 11 */
#define IS_END 0x2000u
#define IS_INVALID 0x1000u

#define TAKES(entry) ((entry)&63u)
#define OWN(entry) ((entry) >> 8 & 15u)
#define LOW(bits, count) ((unsigned)(bits) & ((1u << (count)) - 1))

#define ROOM 300 /* bytes: the literals and the match of one round, and what is written beside */
#define AHEAD 16 /* bytes: two times eight are read at once */

static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,
                                         15, 17, 19, 23, 27, 31, 35, 43, 51,  59,
                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,
                                           33,  49,  65,  97,  129, 193,  257,  385,  513,  769,
                                           1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385,
                                           24577};
static const uint8_t size_order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                       11, 4,  12, 3, 13, 2, 14, 1, 15};

void inflate_begin(Inflate *self) { memset(self, 0, offsetof(Inflate, literal)); }

int inflate_ended(const Inflate *self) { return self->stage == ENDED; }

/* --- tables ------------------------------------------------------------------------------- */

enum { OF_LITERALS, OF_DISTANCES, OF_SIZES };

/* The entry of a symbol whose code has so many bits (that are not looked up yet). */
static uint32_t entry_of(int kind, unsigned symbol, unsigned bits) {
    if (kind == OF_SIZES)
        return symbol << 16 | bits << 8 | bits;
    if (kind == OF_DISTANCES) {
        if (symbol > 29)
            return IS_OTHER | IS_INVALID | bits;
        unsigned extra = symbol < 2 ? 0 : symbol / 2 - 1;
        return (uint32_t)distance_base[symbol] << 16 | bits << 8 | (bits + extra);
    }
    if (symbol < 256)
        return IS_LITERAL | bits << 24 | symbol << 8 | bits;
    if (symbol == 256)
        return IS_OTHER | IS_END | bits;
    if (symbol > 285)
        return IS_OTHER | IS_INVALID | bits;
    unsigned number = symbol - 257;
    return (uint32_t)length_base[number] << 16 | bits << 8 | (bits + length_extra[number]);
}

/* The code that comes after one of so many bits; codes are kept with their first bit lowest. */
static unsigned next_code(unsigned code, unsigned bits) {
    unsigned bit = 1u << (bits - 1);
    while (code & bit)
        bit >>= 1;
    return (code & (bit - 1)) | bit;
}

/* A table of so many entries for codes of these lengths, looked up by so many bits at once; 0:
   there is no such code. A code that is not complete has one symbol of one bit, or none, as zlib allows. */
static int build(uint32_t *table, unsigned entries, unsigned at_once, int kind,
                 const uint8_t *sizes, unsigned symbols) {
    unsigned counts[16] = {0}, place[16], left = 1, longest = 0;
    uint16_t sorted[288];
    for (unsigned i = 0; i < symbols; i++)
        counts[sizes[i]]++;
    unsigned used = symbols - counts[0];
    counts[0] = 0;
    for (unsigned bits = 1, next = 0; bits < 16; bits++) {
        place[bits] = next, next += counts[bits];
        left <<= 1;
        if (counts[bits] > left)
            return 0;
        left -= counts[bits];
        if (counts[bits])
            longest = bits;
    }
    for (unsigned i = 0; i < symbols; i++)
        if (sizes[i])
            sorted[place[sizes[i]]++] = (uint16_t)i;
    if (left) {
        if (kind == OF_SIZES || longest > 1)
            return 0;
        uint32_t only = used ? entry_of(kind, sorted[0], 1) : IS_OTHER | IS_INVALID | 1;
        for (unsigned i = 0; i < 1u << at_once; i++)
            table[i] = i & 1 ? IS_OTHER | IS_INVALID | 1 : only;
        return 1;
    }
    const uint16_t *symbol = sorted;
    unsigned code = 0, bits = 1, size = 2, many;
    while ((many = counts[bits]) == 0)
        bits++, size <<= 1;
    while (bits <= at_once) {
        for (; many; many--) {
            table[code] = entry_of(kind, *symbol++, bits);
            if (code == size - 1) { /* all ones: the last one */
                for (; bits < at_once; bits++, size <<= 1)
                    memcpy(table + size, table, size * sizeof *table);
                return 1;
            }
            code = next_code(code, bits);
        }
        do {
            if (++bits <= at_once) {
                memcpy(table + size, table, size * sizeof *table);
                size <<= 1;
            }
        } while ((many = counts[bits]) == 0);
    }
    unsigned end = 1u << at_once, mask = end - 1, prefix = ~0u, start = 0;
    for (;;) { /* codes that are longer: tables of their own, by what they begin with */
        if ((code & mask) != prefix) {
            unsigned more = bits - at_once, room = many;
            prefix = code & mask, start = end;
            while (room < 1u << more) {
                more++;
                room = (room << 1) + counts[at_once + more];
            }
            end = start + (1u << more);
            if (end > entries)
                return 0; /* never, if they have been counted right */
            table[prefix] = start << 16 | IS_OTHER | IS_TABLE | more << 8 | at_once;
        }
        uint32_t entry = entry_of(kind, *symbol++, bits - at_once);
        for (unsigned i = start + (code >> at_once); i < end; i += 1u << (bits - at_once))
            table[i] = entry;
        if (code == (1u << bits) - 1)
            return 1;
        code = next_code(code, bits);
        for (many--; many == 0;)
            many = counts[++bits];
    }
}

/* Literals whose codes are short enough are looked up by twos. */
static void pair_up(uint32_t *table) {
    for (unsigned i = 1u << LITERAL_BITS; i-- > 0;) {
        uint32_t first = table[i];
        if (!(first & IS_LITERAL))
            continue;
        uint32_t second = table[i >> TAKES(first)]; /* still a single one: it lies before */
        unsigned bits = TAKES(first) + TAKES(second);
        if (second & IS_LITERAL && !(second & IS_PAIR) && bits <= LITERAL_BITS)
            table[i] = (first & ~63u) | IS_PAIR | (second >> 8 & 255u) << 16 | bits;
    }
}

static void fixed_tables(Inflate *self) {
    if (self->fixed) /* blocks may be empty, and many */
        return;
    self->fixed = 1;
    memset(self->sizes, 8, 144);
    memset(self->sizes + 144, 9, 112);
    memset(self->sizes + 256, 7, 24);
    memset(self->sizes + 280, 8, 8);
    build(self->literal, LITERAL_ENTRIES, LITERAL_BITS, OF_LITERALS, self->sizes, 288);
    pair_up(self->literal);
    memset(self->sizes, 5, 32);
    build(self->distance, DISTANCE_ENTRIES, DISTANCE_BITS, OF_DISTANCES, self->sizes, 32);
}

/* --- many symbols -------------------------------------------------------------------------- */

static uint64_t eight(const uint8_t *at) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    uint64_t value = 0;
    for (int i = 8; i-- > 0;)
        value = value << 8 | at[i];
    return value;
#else
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
#endif
}

/* A match within what this call made; up to 15 bytes behind it are written over. */
static void copy_near(uint8_t *out, unsigned far, unsigned length) {
    const uint8_t *from = out - far;
    uint8_t *end = out + length;
    if (far >= 8) {
        memcpy(out, from, 8);
        memcpy(out + 8, from + 8, 8);
        while ((out += 8) + 8 < end) {
            from += 8;
            memcpy(out + 8, from + 8, 8);
        }
    } else if (far == 1) {
        memset(out, *from, length);
    } else {
        do
            *out++ = *from++;
        while (out < end);
    }
}

/* A match that begins in the window, before what this call made. */
static void copy_far(const Inflate *self, const uint8_t *begin, uint8_t *out, unsigned far,
                     unsigned length) {
    size_t made = (size_t)(out - begin), behind = far - made;
    size_t first = behind < length ? behind : length;
    memcpy(out, self->window + INFLATE_WINDOW - behind, first);
    for (size_t i = first; i < length; i++)
        out[i] = begin[i - first];
}

static const char too_far[] = "invalid distance too far back";
static const char no_literal[] = "invalid literal/length code";
static const char no_distance[] = "invalid distance code";

/* Symbols while there are input and room for any. The bits that are left are fewer than 8. */
static const char *quickly(Inflate *self, const uint8_t **in_at, const uint8_t *in_end,
                           const uint8_t *begin, uint8_t **out_at, uint8_t *out_end) {
    const uint32_t *literal = self->literal, *distance = self->distance;
    const uint8_t *in = *in_at, *in_last = in_end - AHEAD;
    uint8_t *out = *out_at, *out_last = out_end - ROOM;
    uint64_t bits = self->bits;
    unsigned count = self->count;
    const char *wrong = NULL;
#define REFILL()                                                                                   \
    do {                                                                                           \
        bits |= eight(in) << count;                                                                \
        in += (63 - count) >> 3;                                                                   \
        count |= 56;                                                                               \
    } while (0)
#define DROP(number)                                                                               \
    do {                                                                                           \
        unsigned dropped = (number);                                                               \
        bits >>= dropped;                                                                          \
        count -= dropped;                                                                          \
    } while (0)
#define LITERALS()                                                                                 \
    do {                                                                                           \
        out[0] = (uint8_t)(entry >> 8), out[1] = (uint8_t)(entry >> 16);                           \
        out += 1 + (entry >> 30 & 1);                                                              \
        DROP(TAKES(entry));                                                                        \
        entry = literal[LOW(bits, LITERAL_BITS)];                                                  \
    } while (0)
    REFILL();
    uint32_t entry = literal[LOW(bits, LITERAL_BITS)];
    do {
        REFILL(); /* at least 56 bits: three times 10, and the 20 of a length */
        if (entry & IS_LITERAL) {
            LITERALS();
            if (entry & IS_LITERAL) {
                LITERALS();
                if (entry & IS_LITERAL) {
                    LITERALS();
                    if (entry & IS_LITERAL) {
                        LITERALS();
                        continue;
                    }
                }
            }
        }
        if (entry & IS_OTHER) {
            if (entry & IS_TABLE) {
                DROP(LITERAL_BITS);
                entry = literal[(entry >> 16) + LOW(bits, OWN(entry))];
                if (entry & IS_LITERAL) {
                    *out++ = (uint8_t)(entry >> 8);
                    DROP(TAKES(entry));
                    entry = literal[LOW(bits, LITERAL_BITS)];
                    continue;
                }
            }
            if (entry & IS_OTHER) {
                if (entry & IS_END) {
                    DROP(TAKES(entry));
                    self->stage = self->last ? ENDED : HEAD;
                } else
                    wrong = no_literal;
                break;
            }
        }
        unsigned length = (entry >> 16) + (LOW(bits, TAKES(entry)) >> OWN(entry));
        DROP(TAKES(entry));
        REFILL();
        entry = distance[LOW(bits, DISTANCE_BITS)];
        if (entry & IS_OTHER) {
            if (entry & IS_TABLE) {
                DROP(DISTANCE_BITS);
                entry = distance[(entry >> 16) + LOW(bits, OWN(entry))];
            }
            if (entry & IS_OTHER) {
                wrong = no_distance;
                break;
            }
        }
        unsigned far = (entry >> 16) + (LOW(bits, TAKES(entry)) >> OWN(entry));
        DROP(TAKES(entry));
        entry = literal[LOW(bits, LITERAL_BITS)]; /* on its way while bytes are copied */
        size_t made = (size_t)(out - begin);
        if (far <= made)
            copy_near(out, far, length);
        else if (far - made <= self->history)
            copy_far(self, begin, out, far, length);
        else {
            wrong = too_far;
            break;
        }
        out += length;
    } while (in <= in_last && out <= out_last);
    if (wrong)
        return wrong;
    in -= count >> 3; /* whole bytes go back: a symbol takes all bits that an earlier call left */
    count &= 7;
    self->bits = bits & ((1u << count) - 1);
    self->count = count;
    *in_at = in, *out_at = out;
    return NULL;
}

/* --- one symbol at a time ------------------------------------------------------------------ */

/* Have so many bits at least, byte by byte; 0: the input has come to its end. */
static int have(Inflate *self, unsigned wanted, const uint8_t **in, const uint8_t *in_end) {
    while (self->count < wanted) {
        if (*in == in_end)
            return 0;
        self->bits |= (uint64_t)*(*in)++ << self->count;
        self->count += 8;
    }
    return 1;
}

static unsigned take(Inflate *self, unsigned number) {
    unsigned value = LOW(self->bits, number);
    self->bits >>= number;
    self->count -= number;
    return value;
}

/* The entry of what comes next, behind some bits, and in *skipped how many bits lie before those
   that it takes; 0: the input has come to its end. */
static int entry_at(Inflate *self, const uint32_t *table, unsigned at_once, unsigned behind,
                    const uint8_t **in, const uint8_t *in_end, uint32_t *entry,
                    unsigned *skipped) {
    for (;;) { /* bits that are not there are 0: they count only if it takes more than there are */
        uint64_t bits = self->bits >> behind;
        *entry = table[LOW(bits, at_once)], *skipped = behind;
        if ((*entry & (IS_LITERAL | IS_OTHER | IS_TABLE)) == (IS_OTHER | IS_TABLE)) {
            bits >>= at_once, *skipped += at_once;
            *entry = table[(*entry >> 16) + LOW(bits, OWN(*entry))];
        }
        unsigned own = *entry & IS_LITERAL ? *entry >> 24 & 15u : TAKES(*entry);
        if (*skipped + own <= self->count)
            return 1;
        if (!have(self, self->count + 1, in, in_end))
            return 0;
    }
}

/* One literal, match or end; 0: there is no input, or no room, for it. */
static int one_symbol(Inflate *self, const uint8_t **in, const uint8_t *in_end,
                      const uint8_t *begin, uint8_t **out, const uint8_t *out_end,
                      const char **wrong) {
    uint32_t entry, second;
    unsigned before, between;
    if (!entry_at(self, self->literal, LITERAL_BITS, 0, in, in_end, &entry, &before))
        return 0;
    if (entry & IS_LITERAL) {
        if (*out == out_end)
            return 0;
        take(self, before + (entry >> 24 & 15u));
        *(*out)++ = (uint8_t)(entry >> 8);
        return 1;
    }
    if (entry & IS_OTHER) {
        if (!(entry & IS_END)) {
            *wrong = no_literal;
            return 0;
        }
        take(self, before + TAKES(entry));
        self->stage = self->last ? ENDED : HEAD;
        return 1;
    }
    unsigned first = before + TAKES(entry);
    if (!entry_at(self, self->distance, DISTANCE_BITS, first, in, in_end, &second, &between))
        return 0;
    if (second & IS_OTHER) {
        *wrong = no_distance;
        return 0;
    }
    take(self, before);
    unsigned length = (entry >> 16) + (take(self, TAKES(entry)) >> OWN(entry));
    take(self, between - first);
    unsigned far = (second >> 16) + (take(self, TAKES(second)) >> OWN(second));
    if (far > (size_t)(*out - begin) + self->history) {
        *wrong = too_far;
        return 0;
    }
    self->match_length = length, self->match_far = far;
    self->stage = MATCH;
    return 1;
}

/* What there is room for of a match. */
static int some_of_match(Inflate *self, const uint8_t *begin, uint8_t **out_at,
                         const uint8_t *out_end) {
    uint8_t *out = *out_at;
    for (; self->match_length && out < out_end; self->match_length--, out++) {
        size_t made = (size_t)(out - begin), far = self->match_far;
        *out = far <= made ? out[-(ptrdiff_t)far] : self->window[INFLATE_WINDOW - (far - made)];
    }
    *out_at = out;
    if (self->match_length)
        return 0;
    self->stage = CODES;
    return 1;
}

/* --- blocks -------------------------------------------------------------------------------- */

static const char *read_head(Inflate *self) {
    self->last = (int)take(self, 1);
    switch (take(self, 2)) {
    case 0:
        take(self, self->count & 7);
        self->stage = STORED_SIZE;
        return NULL;
    case 1:
        fixed_tables(self);
        self->stage = CODES;
        return NULL;
    case 2:
        self->stage = COUNTS;
        return NULL;
    }
    return "invalid block type";
}

static const char *read_stored_size(Inflate *self) {
    unsigned size = take(self, 16);
    if (take(self, 16) != (size ^ 0xffffu))
        return "invalid stored block lengths";
    self->stored = size;
    self->stage = STORED;
    return NULL;
}

static const char *read_counts(Inflate *self) {
    self->literals = 257 + take(self, 5);
    self->distances = 1 + take(self, 5);
    self->lengths = 4 + take(self, 4);
    self->known = self->fixed = 0;
    memset(self->sizes, 0, sizeof self->sizes);
    self->stage = PRECODE;
    return self->literals > 286 || self->distances > 30 ? "too many length or distance symbols"
                                                        : NULL;
}

/* The lengths of the codes by which lengths of codes are told; 0: the input has ended. */
static int read_precode(Inflate *self, const uint8_t **in, const uint8_t *in_end,
                        const char **wrong) {
    for (; self->known < self->lengths; self->known++) {
        if (!have(self, 3, in, in_end))
            return 0;
        self->sizes[size_order[self->known]] = (uint8_t)take(self, 3);
    }
    if (!build(self->distance, DISTANCE_ENTRIES, 7, OF_SIZES, self->sizes, 19))
        *wrong = "invalid code lengths set";
    self->known = 0;
    self->stage = LENGTHS;
    return 1;
}

static const char *finish_tables(Inflate *self) {
    uint8_t of_distances[32] = {0};
    memcpy(of_distances, self->sizes + self->literals, self->distances);
    if (!self->sizes[256])
        return "invalid code -- missing end-of-block";
    if (!build(self->literal, LITERAL_ENTRIES, LITERAL_BITS, OF_LITERALS, self->sizes, self->literals))
        return "invalid literal/lengths set";
    if (!build(self->distance, DISTANCE_ENTRIES, DISTANCE_BITS, OF_DISTANCES, of_distances, self->distances))
        return "invalid distances set";
    pair_up(self->literal);
    self->stage = CODES;
    return NULL;
}

/* The lengths of codes; 0: the input has ended. */
static int read_lengths(Inflate *self, const uint8_t **in, const uint8_t *in_end,
                        const char **wrong) {
    static const uint8_t extra[3] = {2, 3, 7}, least[3] = {3, 3, 11};
    unsigned all = self->literals + self->distances;
    while (self->known < all) {
        uint32_t entry;
        unsigned skipped;
        if (!entry_at(self, self->distance, 7, 0, in, in_end, &entry, &skipped))
            return 0;
        unsigned symbol = entry >> 16, value = 0, times = 1;
        if (symbol < 16) {
            take(self, TAKES(entry));
            value = symbol;
        } else {
            if (!have(self, TAKES(entry) + extra[symbol - 16], in, in_end))
                return 0;
            take(self, TAKES(entry));
            times = least[symbol - 16] + take(self, extra[symbol - 16]);
            if (symbol == 16 && self->known)
                value = self->sizes[self->known - 1];
            if ((symbol == 16 && !self->known) || times > all - self->known) {
                *wrong = "invalid bit length repeat";
                return 0;
            }
        }
        memset(self->sizes + self->known, (int)value, times);
        self->known += times;
    }
    *wrong = finish_tables(self);
    return 1;
}

static int some_stored(Inflate *self, const uint8_t **in, const uint8_t *in_end, uint8_t **out,
                       const uint8_t *out_end) {
    size_t size = self->stored, given = (size_t)(in_end - *in), room = (size_t)(out_end - *out);
    size = size < given ? size : given;
    size = size < room ? size : room;
    if (size)
        memcpy(*out, *in, size);
    *in += size, *out += size;
    self->stored -= (unsigned)size;
    if (self->stored)
        return 0;
    self->stage = self->last ? ENDED : HEAD;
    return 1;
}

/* --- the stream ---------------------------------------------------------------------------- */

/* One step; 0: there is no input, or no room, for it, or something is wrong. */
static int step(Inflate *self, const uint8_t **in, const uint8_t *in_end, const uint8_t *begin,
                uint8_t **out, uint8_t *out_end, const char **wrong) {
    switch (self->stage) {
    case HEAD:
        if (!have(self, 3, in, in_end))
            return 0;
        *wrong = read_head(self);
        break;
    case STORED_SIZE:
        if (!have(self, 32, in, in_end))
            return 0;
        *wrong = read_stored_size(self);
        break;
    case STORED:
        return some_stored(self, in, in_end, out, out_end);
    case COUNTS:
        if (!have(self, 14, in, in_end))
            return 0;
        *wrong = read_counts(self);
        break;
    case PRECODE:
        return read_precode(self, in, in_end, wrong) && !*wrong;
    case LENGTHS:
        return read_lengths(self, in, in_end, wrong) && !*wrong;
    case CODES:
        if (in_end - *in >= AHEAD && out_end - *out >= ROOM)
            *wrong = quickly(self, in, in_end, begin, out, out_end);
        else
            return one_symbol(self, in, in_end, begin, out, out_end, wrong);
        break;
    case MATCH:
        return some_of_match(self, begin, out, out_end);
    default:
        return 0;
    }
    return !*wrong;
}

/* Keep the last bytes, for matches of calls to come. */
static void remember(Inflate *self, const uint8_t *begin, const uint8_t *end) {
    size_t made = (size_t)(end - begin);
    if (!made)
        return;
    uint8_t *window_end = self->window + INFLATE_WINDOW;
    if (made >= INFLATE_WINDOW) {
        memcpy(self->window, end - INFLATE_WINDOW, INFLATE_WINDOW);
        self->history = INFLATE_WINDOW;
        return;
    }
    size_t kept = self->history < INFLATE_WINDOW - made ? self->history : INFLATE_WINDOW - made;
    memmove(window_end - made - kept, window_end - kept, kept);
    memcpy(window_end - made, begin, made);
    self->history = kept + made;
}

const char *inflate_on(Inflate *self, const uint8_t **in, const uint8_t *in_end, uint8_t **out,
                       uint8_t *out_end) {
    const uint8_t *begin = *out;
    const char *wrong = NULL;
    if (self->stage == BROKEN)
        return "damaged before";
    while (step(self, in, in_end, begin, out, out_end, &wrong))
        continue;
    if (wrong)
        self->stage = BROKEN; /* its tables may be anything */
    else if (!inflate_ended(self))
        remember(self, begin, *out);
    return wrong;
}
