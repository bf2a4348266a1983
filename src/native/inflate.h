/* Raw deflate (RFC 1951): a stream that goes on wherever input or room came to an end. */
#ifndef SERIESIO_INFLATE_H
#define SERIESIO_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#define INFLATE_WINDOW 32768 /* bytes that a match may lie behind */
#define LITERAL_BITS 10      /* of a code that are looked up at once */
#define DISTANCE_BITS 8
/* Entries that a complete code of lengths up to 15 takes at most, its further tables included:
   288 symbols with 10 bits at once, 32 with 8; as zlib's examples/enough.c counts them. */
#define LITERAL_ENTRIES 1334
#define DISTANCE_ENTRIES 402

typedef struct {
    uint64_t bits; /* that are taken from the input and not used, the next one lowest */
    unsigned count;
    int stage, last, fixed; /* fixed: the tables are those of the fixed codes */
    unsigned stored;                  /* bytes left of a stored block */
    unsigned literals, distances;     /* numbers of codes */
    unsigned lengths, known;          /* of the code of code lengths; read so far */
    unsigned match_length, match_far; /* what is left of a match that found no room */
    uint8_t sizes[320];               /* lengths of codes */
    size_t history; /* bytes at the end of the window that earlier calls made */
    /* From here on, nothing is there until it has been written. */
    uint32_t literal[LITERAL_ENTRIES], distance[DISTANCE_ENTRIES];
    uint8_t window[INFLATE_WINDOW];
} Inflate;

void inflate_begin(Inflate *self);

/* Go on: from *in up to its end, to *out up to its end; both are moved. Bytes of the room behind
   *out may be written over. NULL, or what is wrong with the stream, which is at its end then. */
const char *inflate_on(Inflate *self, const uint8_t **in, const uint8_t *in_end, uint8_t **out,
                       uint8_t *out_end);

int inflate_ended(const Inflate *self);

#endif
