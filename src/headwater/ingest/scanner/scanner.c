/* Splits a block into lines, and validates documents (lines of JSON) by the plan of a plain schema. compiler.py builds
 * the plan.
 *
 * The scanner only accepts. A line that it accepts is JSON in UTF-8, an object, matches the schema and has an id, which
 * is copied verbatim. All other lines, invalid or unusual, take the general path in Python. So the scanner needs no
 * error messages, and omits what is rare and hard to decide: escapes in names, huge numbers, deep nesting.
 *
 * Nothing is read outside of the block. Each line ends in LF, which cannot occur within a value: loops over single
 * bytes stop there, and code that reads several bytes at once checks first that the block has so many.
 *
 * It does not allocate, has no state, and does not call Python, so that it runs with the GIL released.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { STRING = 1, INTEGER = 2, FRACTION = 4, BOOLEAN = 8, NOTHING = 16, OBJECT = 32, ARRAY = 64 };

/* Maximum nesting depth; each level takes a stack frame. */
#define DEEPEST 64
/* Maximum number of declared properties of an object. */
#define MOST_PROPERTIES 256
/* Any number of so many digits fits into an int64_t. */
#define MOST_DIGITS 18
/* Maximum number of digits after the decimal point. */
#define LONGEST_FRACTION 64
/* All integers up to this one, and all powers of ten up to this exponent, are exact doubles. */
#define EXACT_INTEGER ((int64_t)1 << 53)
#define EXACT_POWER 22
/* Relative margin by which a fraction that may be inexact must stay away from its bounds. */
#define DOUBT 1e-12

/* A slice of the plan's text. */
typedef struct {
    int32_t start, length;
} Text;

/* A run of a pattern: `least` to `most` bytes of a set, which has a bit for each of the 256 bytes. */
typedef struct {
    uint64_t set[4];
    int32_t least, most;
} Run;

/* A declared property of an object; `name` includes the quotes, as in a document. */
typedef struct {
    Text name;
    int32_t node;
    int32_t is_required;
} Property;

/* The constraints of a value: its types, and the constraints per type. A list is its first index and a count. */
typedef struct {
    double lowest, highest;       /* of a fraction */
    int64_t least, most;          /* of an integer */
    int32_t types;
    int32_t shortest, longest;    /* of a string, in characters */
    int32_t choice, choices;      /* with quotes; any string if there are none */
    int32_t run, runs;            /* the pattern; any string if there is none and it is not whole */
    int32_t is_whole;             /* whether the pattern is anchored at the end */
    int32_t property, properties;
    int32_t required;             /* number of required properties */
    int32_t others;               /* the node of undeclared properties; -1 if they are forbidden */
    int32_t items, fewest, most_items;
} Node;

typedef struct {
    const Node *nodes; /* the first one is the document's */
    const Property *properties;
    const Text *choices;
    const Run *runs;
    const uint8_t *text;
    int32_t id; /* the property of the first node that holds the id */
} Plan;

typedef struct {
    const Plan *plan;
    const uint8_t *limit; /* the end of the block */
    const uint8_t *id;    /* of the current document; NULL until it is found */
    int32_t id_length;
} Scan;

/* What string_end() found out about a string. */
typedef struct {
    int64_t characters;
    bool is_escaped;
} StringInfo;

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

/* Return whether the bytes at `at` are this text, without reading past the block. */
static inline bool is_text(const Scan *scan, Text text, const uint8_t *at)
{
    return scan->limit - at >= text.length && memcmp(at, scan->plan->text + text.start, (size_t)text.length) == 0;
}

/* Strings. */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Return a word whose lowest set bit is in the first of eight bytes that is not a plain ASCII character; 0 if all are.
 * The borrow of a subtraction may set bits after the first one, but not before it. */
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

/* Return the first byte from `at` on that ends a string, begins an escape, is not ASCII, or is a control character. */
static inline const uint8_t *plain_end(const uint8_t *at, const uint8_t *limit)
{
    for (int words = 0; limit - at >= 8; words++) {
        uint64_t found = first_special(at);
        if (found) {
            return at + (__builtin_ctzll(found) >> 3);
        }
        at += 8;
        if (words == 2) { /* a long string: continue with vectors */
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

/* Return the length of the non-ASCII character at `at` in bytes (Unicode 17, table 3-7); 0 if it is malformed. */
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

/* Return the code unit of a \uXXXX escape; -1 if it is malformed. */
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

/* Return the length of the escape at `at` in bytes; 0 if it is malformed, or half of a surrogate pair. */
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

/* Return the closing quote of the string whose first byte after the opening quote is at `at`; NULL if it is invalid. */
static inline const uint8_t *string_end(const uint8_t *at, const uint8_t *limit, StringInfo *info)
{
    const uint8_t *begin = at;
    int64_t saved = 0; /* bytes beyond one per character */
    info->is_escaped = false;
    for (;;) {
        at = plain_end(at, limit);
        int length;
        if (*at == '"') {
            info->characters = at - begin - saved;
            return at;
        }
        if (*at == '\\') {
            info->is_escaped = true;
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

/* Return whether a string matches a pattern; its runs never need backtracking. */
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
    StringInfo info;
    const uint8_t *end = string_end(at + 1, scan->limit, &info);
    if (end == NULL || info.characters < node->shortest || info.characters > node->longest) {
        return NULL;
    }
    if (node->choices && !is_choice(scan, node, at, end + 1 - at)) {
        return NULL;
    }
    if ((node->runs || node->is_whole) && (info.is_escaped || !follows(scan->plan, node, at + 1, end))) {
        return NULL;
    }
    return end + 1;
}

/* Numbers. */

/* Append digits to `number`; digits that do not fit are counted as `lost`. */
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
        /* At most two digits, which are in the range of doubles. */
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

/* Find the property whose name is at `at` (-1 if it is undeclared), and return where the name ends. Most documents have
 * their properties in the order of the schema, so `next` is compared first, without a search for the name's end. */
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
    StringInfo info;
    const uint8_t *end = string_end(at + 1, scan->limit, &info);
    if (end == NULL || (info.is_escaped && node->properties)) {
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

/* Store the value between `at` and `end` as the id, if it can be used verbatim. */
static inline bool is_id(Scan *scan, const uint8_t *at, const uint8_t *end)
{
    if (*at == '"') {
        at++;
        end--;
        if (memchr(at, '\\', (size_t)(end - at)) != NULL) {
            return false;
        }
    } else {
        /* An integer: only digits, and not "-0", which equals 0. */
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
                /* The last of duplicate names counts: rare enough for the general path. */
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

/* Return where the value at `at` ends; NULL if it is not accepted. */
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

/* Validate `count` lines. `offsets` holds where each begins in `data`, and where the last one ends, after its LF.
 *
 * Output: `ids`, the concatenated ids; `id_offsets`, where each begins, and where the last one ends; `missed`, the
 * indexes of the lines that are not accepted, whose ids are empty. They need room for as many bytes as the lines have,
 * for `count` + 1 and for `count` elements. Return the number of lines that are not accepted.
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
 * Return the number of lines; -1 if any of them needs normalizing: it is not ended by LF alone, or it may be blank
 * (it begins with white space). `offsets` needs room for `length` / 2 + 2 elements.
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

static inline bool is_blank(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    return at == end;
}

/* Return the next occurrence of a byte; `limit` if there is none. */
static inline const uint8_t *next_of(const uint8_t *at, const uint8_t *limit, uint8_t byte)
{
    const uint8_t *found = at < limit ? memchr(at, byte, (size_t)(limit - at)) : NULL;
    return found == NULL ? limit : found;
}

/* Normalize a block of `length` bytes: copy its lines, each ended by one LF, without blank ones. A line ends at LF,
 * CRLF, CR, or the end of the block.
 *
 * Output: `mended`, the lines; `offsets`, where each begins there, and where the last one ends; `numbers`, the line
 * number of each in the block, from 0; `starts`, where it begins in the block. `mended` needs room for `length` + 1
 * bytes, the others for `length` / 2 + 2 elements. Return the number of copied lines; `lines` is set to the number of
 * all lines.
 */
int32_t headwater_mend(const uint8_t *data, int32_t length, uint8_t *mended, int32_t *offsets, int32_t *numbers,
                       int32_t *starts, int32_t *lines)
{
    const uint8_t *at = data, *limit = data + length;
    /* The next LF and the next CR: each byte is searched once for each, however the two alternate. */
    const uint8_t *feed = next_of(at, limit, '\n'), *carriage = next_of(at, limit, '\r');
    int32_t count = 0, line = 0;
    uint8_t *out = mended;
    offsets[0] = 0;
    for (; at < limit; line++) {
        feed = feed < at ? next_of(at, limit, '\n') : feed;
        carriage = carriage < at ? next_of(at, limit, '\r') : carriage;
        const uint8_t *end = feed < carriage ? feed : carriage;
        if (!is_blank(at, end)) {
            memcpy(out, at, (size_t)(end - at));
            out += end - at;
            *out++ = '\n';
            numbers[count] = line;
            starts[count] = (int32_t)(at - data);
            offsets[++count] = (int32_t)(out - mended);
        }
        at = end + 1 + (end == carriage && carriage + 1 == feed && feed < limit);
    }
    *lines = line;
    return count;
}
