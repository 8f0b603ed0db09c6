/** Documents of about 500 bytes, the same for the same number; made quickly, since not they are to be measured. */

const WORDS = "the quick brown fox jumps over a lazy dog while crawlers bring documents into their stream café".split(
  " ",
);

let seed = 1;
const word = () => {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return WORDS[(seed >> 8) % WORDS.length];
};
const words = (/** @type {number} */ count) => Array.from({ length: count }, word).join(" ");
const TEXTS = Array.from({ length: 1000 }, () => ({ title: words(6), tags: [word(), word()], text: words(56) }));

/** @param {number} count */
export function* documents(count) {
  for (let number = 0; number < count; number += 1) {
    const { title, tags, text } = /** @type {typeof TEXTS[0]} */ (TEXTS[(number * 7919) % TEXTS.length]);
    const author = { name: tags[0], city: tags[1] };
    yield {
      id: `doc-${number}`,
      title,
      price: ((number * 37) % 1000) / 100,
      tags,
      author,
      at: "2026-03-01T12:00:00Z",
      text,
    };
  }
}
