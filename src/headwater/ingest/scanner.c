/* Finds the lines of a block, and looks at documents, lines of JSON, by the plan of a plain schema (plan.py makes it).
 *
 * It can only say yes. A line that it takes is JSON in UTF-8, an object, matches the schema and has an id, which is
 * copied as it stands. Whatever else a line is, rare or wrong, it is not taken and is looked at in the general way. So
 * this knows no words for faults, and leaves out what is hard to tell: escapes in names, giant numbers, deep nesting.
 *
 * Nothing is read outside of the block. Each line ends in LF, which is no part of any value: what looks at one byte
 * after another comes to an end there, and what looks at several at once asks first whether the block has so many.
 *
 * It allocates nothing, keeps nothing, and calls nothing of Python, so that other threads go on beside it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { STRING = 1, INTEGER = 2, FRACTION = 4, BOOLEAN = 8, NOTHING = 16, OBJECT = 32, ARRAY = 64 };

/* Values within values; each takes a frame of the stack. */
#define DEEPEST 64
/* Properties that the schema names, of one object. */
#define MOST_PROPERTIES 256
/* So many digits fit into an int64_t, whatever they are. */
#define MOST_DIGITS 18
/* Digits behind a point. */
#define LONGEST_FRACTION 64
/* Integers up to here are doubles, and so are powers of ten up to this one. */
#define EXACT_INTEGER ((int64_t)1 << 53)
#define EXACT_POWER 22
/* A fraction that may not be exact must keep so far from its bounds, as a part of itself. */
#define DOUBT 1e-12

/* A piece of the plan's text. */
typedef struct {
    int32_t start, length;
} Text;

/* A part of a pattern: `least` to `most` bytes that are all in a set, a bit for each of the 256. */
typedef struct {
    uint64_t set[4];
    int32_t least, most;
} Run;

/* A property that an object's schema names; `name` is in quotes, as it stands in a document. */
typedef struct {
    Text name;
    int32_t node;
    int32_t is_required;
} Property;

/* What a value may be: of which types, and for each of them, how. Lists are a first element and a count. */
typedef struct {
    double lowest, highest;       /* of a fraction */
    int64_t least, most;          /* of an integer */
    int32_t types;
    int32_t shortest, longest;    /* of a string, in characters */
    int32_t choice, choices;      /* in quotes; any string if there is none */
    int32_t run, runs;            /* the pattern; any string if there is none, and it is not whole */
    int32_t is_whole;             /* whether the string ends where the pattern ends */
    int32_t property, properties;
    int32_t required;             /* so many of the properties are */
    int32_t others;               /* the node of properties that are not named; -1 if there may be none */
    int32_t items, fewest, most_items;
} Node;

typedef struct {
    const Node *nodes; /* the first is the document's */
    const Property *properties;
    const Text *choices;
    const Run *runs;
    const uint8_t *text;
    int32_t id; /* the property of the first node whose value is the id */
} Plan;

typedef struct {
    const Plan *plan;
    const uint8_t *limit; /* the end of the block */
    const uint8_t *id;    /* in the document under way; NULL as long as none was seen */
    int32_t id_length;
} Scan;

/* What was scanned of a string, between its quotes. */
typedef struct {
    int64_t characters;
    bool is_escaped;
} Told;

static const double POWERS[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const uint8_t *value(Scan *scan, const Node *node, const uint8_t *at, int depth);

static inline const uint8_t *space(const uint8_t *at)
{
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    return at;
}

static inline bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Return whether the bytes at `at` are this text; they are compared only if the block has so many. */
static inline bool is_text(const Scan *scan, Text text, const uint8_t *at)
{
    return scan->limit - at >= text.length && memcmp(at, scan->plan->text + text.start, (size_t)text.length) == 0;
}

/* Strings. */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Return a word whose lowest set bit is in the first of eight bytes that is no plain ASCII character; 0 if all are.
 * The borrow of a subtraction may set bits behind the first, and none before it. */
static inline uint64_t first_special(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    uint64_t quote = word ^ EACH('"'), backslash = word ^ EACH('\\');
    uint64_t found = ((quote - EACH(1)) & ~quote) | ((backslash - EACH(1)) & ~backslash);
    found |= ((word - EACH(' ')) & ~word) | word;
    return found & EACH(0x80);
}

typedef uint8_t Vector __attribute__((vector_size(32)));

static inline bool any_special(const uint8_t *at)
{
    Vector bytes;
    memcpy(&bytes, at, sizeof bytes);
    Vector found = (Vector)(bytes == '"') | (Vector)(bytes == '\\') | (Vector)(bytes < ' ') | (bytes & 0x80);
    return __builtin_reduce_or(found) != 0;
}

/* Return the first byte from `at` on that ends a string, begins an escape or is not ASCII, or is not allowed. */
static inline const uint8_t *plain_end(const uint8_t *at, const uint8_t *limit)
{
    for (int words = 0; limit - at >= 8; words++) {
        uint64_t found = first_special(at);
        if (found) {
            return at + (__builtin_ctzll(found) >> 3);
        }
        at += 8;
        if (words == 2) { /* it is a long one */
            while (limit - at >= 32 && !any_special(at)) {
                at += 32;
            }
        }
    }
    while (*at >= ' ' && *at < 0x80 && *at != '"' && *at != '\\') {
        at++;
    }
    return at;
}

static inline bool goes_on(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Return how many bytes the character at `at` has that is not ASCII (Unicode 17, table 3-7); 0 if it is none. */
static inline int character_length(const uint8_t *at)
{
    uint8_t first = at[0], second = at[1];
    if (first >= 0xc2 && first <= 0xdf) {
        return goes_on(second) ? 2 : 0;
    }
    if (first >= 0xe0 && first <= 0xef) {
        bool is_good = goes_on(second) && !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f);
        return is_good && goes_on(at[2]) ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        bool is_good = goes_on(second) && !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
        return is_good && goes_on(at[2]) && goes_on(at[3]) ? 4 : 0;
    }
    return 0;
}

/* Return the code unit that \uXXXX names; -1 if it names none. */
static inline int32_t code_unit(const uint8_t *at)
{
    if (at[0] != '\\' || at[1] != 'u') {
        return -1;
    }
    int32_t unit = 0;
    for (int place = 2; place < 6; place++) {
        uint8_t byte = at[place], letter = byte | 0x20;
        if (is_digit(byte)) {
            unit = unit << 4 | (byte - '0');
        } else if (letter >= 'a' && letter <= 'f') {
            unit = unit << 4 | (letter - 'a' + 10);
        } else {
            return -1;
        }
    }
    return unit;
}

/* Return how many bytes the escape at `at` has; 0 if it is none, or half of a pair. */
static inline int escape_length(const uint8_t *at)
{
    switch (at[1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return 2;
    case 'u':;
        int32_t unit = code_unit(at);
        if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
            return 0;
        }
        if (unit < 0xd800 || unit > 0xdfff) {
            return 6;
        }
        int32_t low = code_unit(at + 6);
        return low >= 0xdc00 && low <= 0xdfff ? 12 : 0;
    default:
        return 0;
    }
}

/* Return where the string ends whose first byte behind the quote is at `at`: its other quote. */
static inline const uint8_t *string_end(const uint8_t *at, const uint8_t *limit, Told *told)
{
    const uint8_t *begin = at;
    int64_t saved = 0; /* bytes that are no character of their own */
    told->is_escaped = false;
    for (;;) {
        at = plain_end(at, limit);
        int length;
        if (*at == '"') {
            told->characters = at - begin - saved;
            return at;
        }
        if (*at == '\\') {
            told->is_escaped = true;
            length = escape_length(at);
            if (!length) {
                return NULL;
            }
            at += length;
            saved += length - 1;
        } else if (*at >= 0x80) {
            do {
                length = character_length(at);
                if (!length) {
                    return NULL;
                }
                at += length;
                saved += length - 1;
            } while (*at >= 0x80);
        } else {
            return NULL;
        }
    }
}

/* Return whether a string follows a pattern; its parts are such that none ever has to give back what it took. */
static bool follows(const Plan *plan, const Node *node, const uint8_t *at, const uint8_t *end)
{
    for (const Run *run = plan->runs + node->run, *last = run + node->runs; run < last; run++) {
        int32_t taken = 0;
        while (taken < run->most && at < end && run->set[*at >> 6] >> (*at & 63) & 1) {
            taken++;
            at++;
        }
        if (taken < run->least) {
            return false;
        }
    }
    return at == end || !node->is_whole;
}

static bool is_choice(const Scan *scan, const Node *node, const uint8_t *quoted, int64_t length)
{
    const Text *choice = scan->plan->choices + node->choice;
    for (int32_t place = 0; place < node->choices; place++) {
        if (choice[place].length == length && is_text(scan, choice[place], quoted)) {
            return true;
        }
    }
    return false;
}

static inline const uint8_t *string(const Scan *scan, const Node *node, const uint8_t *at)
{
    Told told;
    const uint8_t *end = string_end(at + 1, scan->limit, &told);
    if (end == NULL || told.characters < node->shortest || told.characters > node->longest) {
        return NULL;
    }
    if (node->choices && !is_choice(scan, node, at, end + 1 - at)) {
        return NULL;
    }
    if ((node->runs || node->is_whole) && (told.is_escaped || !follows(scan->plan, node, at + 1, end))) {
        return NULL;
    }
    return end + 1;
}

/* Numbers. */

/* Read digits on to `number`; those for which there is no room in it are counted as `lost`. */
static inline const uint8_t *digits(const uint8_t *at, int64_t *number, int *count, int *lost)
{
    for (; is_digit(*at); at++) {
        if (*count < MOST_DIGITS) {
            *number = *number * 10 + (*at - '0');
            *count += *number != 0;
        } else {
            ++*lost;
        }
    }
    return at;
}

static bool is_between(const Node *node, int64_t digits, int exponent, bool is_exact, bool is_minus)
{
    if (node->lowest == -__builtin_inf() && node->highest == __builtin_inf()) {
        return true;
    }
    if (exponent < -EXACT_POWER || exponent > EXACT_POWER) {
        return false;
    }
    double number = exponent < 0 ? (double)digits / POWERS[-exponent] : (double)digits * POWERS[exponent];
    double margin = is_exact && digits <= EXACT_INTEGER ? 0 : number * DOUBT;
    number = is_minus ? -number : number;
    return number - margin >= node->lowest && number + margin <= node->highest;
}

static inline const uint8_t *number(const Node *node, const uint8_t *at)
{
    bool is_minus = *at == '-';
    at += is_minus;
    if (!is_digit(*at) || (*at == '0' && is_digit(at[1]))) {
        return NULL;
    }
    int64_t found = 0;
    int count = 0, lost = 0, exponent = 0;
    at = digits(at, &found, &count, &lost);
    if (lost) {
        return NULL;
    }
    if (*at != '.' && *at != 'e' && *at != 'E') {
        int64_t whole = is_minus ? -found : found;
        return node->types & INTEGER && whole >= node->least && whole <= node->most ? at : NULL;
    }
    if (!(node->types & FRACTION)) {
        return NULL;
    }
    if (*at == '.') {
        const uint8_t *begin = ++at;
        at = digits(at, &found, &count, &lost);
        if (at == begin || at - begin > LONGEST_FRACTION) {
            return NULL;
        }
        exponent = (int)(begin - at) + lost;
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        bool is_down = *at == '-';
        at += *at == '-' || *at == '+';
        /* Two digits: no double is too small or too large for that. */
        if (!is_digit(at[0])) {
            return NULL;
        }
        int power = *at++ - '0';
        if (is_digit(*at)) {
            power = power * 10 + (*at++ - '0');
        }
        if (is_digit(*at)) {
            return NULL;
        }
        exponent += is_down ? -power : power;
    }
    return is_between(node, found, exponent, !lost, is_minus) ? at : NULL;
}

/* Arrays and objects. */

static const uint8_t *array(Scan *scan, const Node *node, const uint8_t *at, int depth)
{
    const Node *items = scan->plan->nodes + node->items;
    int32_t count = 0;
    at = space(at + 1);
    if (*at != ']') {
        for (;; at++) {
            at = value(scan, items, space(at), depth + 1);
            count++;
            if (at == NULL || count > node->most_items) {
                return NULL;
            }
            at = space(at);
            if (*at == ']') {
                break;
            }
            if (*at != ',') {
                return NULL;
            }
        }
    }
    return count >= node->fewest ? at + 1 : NULL;
}

/* Find which property the name at `at` is, and where it ends; -1 is one that the schema does not name. Most documents
 * have the properties in the order of the schema, so `next` is compared before the name's end is looked for. */
static inline const uint8_t *name(const Scan *scan, const Node *node, const uint8_t *at, int32_t next, int32_t *found)
{
    const Property *properties = scan->plan->properties + node->property;
    if (*at != '"') {
        return NULL;
    }
    if (next < node->properties && is_text(scan, properties[next].name, at)) {
        *found = next;
        return at + properties[next].name.length;
    }
    Told told;
    const uint8_t *end = string_end(at + 1, scan->limit, &told);
    if (end == NULL || (told.is_escaped && node->properties)) {
        return NULL;
    }
    *found = -1;
    for (int32_t place = 0; place < node->properties; place++) {
        if (properties[place].name.length == end + 1 - at && is_text(scan, properties[place].name, at)) {
            *found = place;
            break;
        }
    }
    return end + 1;
}

/* Keep the value between `at` and `end` as the id, if it is one as it stands. */
static inline bool is_id(Scan *scan, const uint8_t *at, const uint8_t *end)
{
    if (*at == '"') {
        at++;
        end--;
        if (memchr(at, '\\', (size_t)(end - at)) != NULL) {
            return false;
        }
    } else {
        /* An integer: digits, and no "-0", which is 0. */
        const uint8_t *first = at + (*at == '-');
        if (!is_digit(*first) || (*at == '-' && *first == '0')) {
            return false;
        }
        for (const uint8_t *digit = first; digit < end; digit++) {
            if (!is_digit(*digit)) {
                return false;
            }
        }
    }
    scan->id = at;
    scan->id_length = (int32_t)(end - at);
    return true;
}

static const uint8_t *object(Scan *scan, const Node *node, const uint8_t *at, int depth)
{
    const Plan *plan = scan->plan;
    uint64_t seen[MOST_PROPERTIES / 64];
    memset(seen, 0, (size_t)(node->properties + 63) / 64 * sizeof *seen);
    int32_t required = 0, next = 0;
    at = space(at + 1);
    if (*at != '}') {
        for (;; at++) {
            int32_t place;
            at = name(scan, node, space(at), next, &place);
            if (at == NULL) {
                return NULL;
            }
            at = space(at);
            if (*at != ':') {
                return NULL;
            }
            int32_t kind = node->others;
            if (place >= 0) {
                /* Of a name that comes twice the last one counts: rare enough to be left to the general way. */
                uint64_t bit = (uint64_t)1 << (place & 63);
                if (seen[place >> 6] & bit) {
                    return NULL;
                }
                seen[place >> 6] |= bit;
                const Property *property = plan->properties + node->property + place;
                required += property->is_required;
                kind = property->node;
                next = place + 1;
            }
            if (kind < 0) {
                return NULL;
            }
            const uint8_t *begin = space(at + 1);
            at = value(scan, plan->nodes + kind, begin, depth + 1);
            if (at == NULL || (depth == 0 && place == plan->id && !is_id(scan, begin, at))) {
                return NULL;
            }
            at = space(at);
            if (*at == '}') {
                break;
            }
            if (*at != ',') {
                return NULL;
            }
        }
    }
    return required == node->required ? at + 1 : NULL;
}

/* Return where the value at `at` ends; NULL if it is not taken. */
static const uint8_t *value(Scan *scan, const Node *node, const uint8_t *at, int depth)
{
    switch (*at) {
    case '"':
        return node->types & STRING ? string(scan, node, at) : NULL;
    case '{':
        return node->types & OBJECT && depth < DEEPEST ? object(scan, node, at, depth) : NULL;
    case '[':
        return node->types & ARRAY && depth < DEEPEST ? array(scan, node, at, depth) : NULL;
    case 't':
        return node->types & BOOLEAN && at[1] == 'r' && at[2] == 'u' && at[3] == 'e' ? at + 4 : NULL;
    case 'f':
        return node->types & BOOLEAN && at[1] == 'a' && at[2] == 'l' && at[3] == 's' && at[4] == 'e' ? at + 5 : NULL;
    case 'n':
        return node->types & NOTHING && at[1] == 'u' && at[2] == 'l' && at[3] == 'l' ? at + 4 : NULL;
    default:
        return number(node, at);
    }
}

/* Look at `count` lines. `offsets` tells where each begins in `data`, and where the last one ends, behind its LF.
 *
 * Written are the ids, one behind the other; where each begins in them and where the last one ends; and the places of
 * the lines that are not taken, from 0, whose ids are empty. There must be room for as many bytes as the lines have, for
 * `count` + 1 and for `count`. Returned is how many lines are not taken.
 */
int32_t headwater_scan(const Plan *plan, const uint8_t *data, const int32_t *offsets, int32_t count, uint8_t *ids,
                       int32_t *id_offsets, int32_t *missed)
{
    int32_t used = 0, misses = 0;
    id_offsets[0] = 0;
    for (int32_t line = 0; line < count; line++) {
        Scan scan = {.plan = plan, .limit = data + offsets[count], .id = NULL, .id_length = 0};
        const uint8_t *end = value(&scan, plan->nodes, space(data + offsets[line]), 0);
        if (end != NULL && scan.id != NULL && space(end) == data + offsets[line + 1] - 1) {
            memcpy(ids + used, scan.id, (size_t)scan.id_length);
            used += scan.id_length;
        } else {
            missed[misses++] = line;
        }
        id_offsets[line + 1] = used;
    }
    return misses;
}

/* Find where each line of a block of `length` bytes begins, and where the last one ends.
 *
 * Returned is how many lines there are; -1 if any of them is not good as it stands: it is not ended by LF alone, or may
 * be blank, since white space is the first of it. There must be room for half as many offsets as there are bytes, and 2.
 */
int32_t headwater_lines(const uint8_t *data, int32_t length, int32_t *offsets)
{
    const uint8_t *at = data, *limit = data + length;
    int32_t count = 0;
    if (length == 0 || limit[-1] != '\n' || memchr(data, '\r', (size_t)length) != NULL) {
        return -1;
    }
    offsets[0] = 0;
    while (at < limit) {
        if (*at == '\n' || *at == ' ' || *at == '\t') {
            return -1;
        }
        at = (const uint8_t *)memchr(at, '\n', (size_t)(limit - at)) + 1;
        offsets[++count] = (int32_t)(at - data);
    }
    return count;
}
