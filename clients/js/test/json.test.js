import assert from "node:assert/strict";
import { test } from "node:test";

import { NotJson } from "../src/index.js";
import { exactlyParsed, lineOf } from "../src/json.js";

/** @type {any} */
const ring = { name: "ring", inner: { list: [] } };
ring.inner.list.push(ring);
/** @type {any} */
let deep = {};
for (let level = 0; level < 1001; level += 1) deep = { deep };

class Money {
  /** @param {number} amount */
  constructor(amount) {
    this.amount = amount;
  }
}

/** @type {[string, any, string][]} what it is, the document, the pointer that is told */
const REFUSED = [
  ["undefined", undefined, ""],
  ["null", null, ""],
  ["a text", "text", ""],
  ["a number", 7, ""],
  ["NaN", NaN, ""],
  ["an array", [{}], ""],
  ["a function", () => ({}), ""],
  ["a symbol", Symbol("s"), ""],
  ["a date", new Date(0), ""],
  ["a map", new Map([["a", 1]]), ""],
  ["a promise", Promise.resolve({}), ""],
  ["NaN in a field", { price: NaN }, "/price"],
  ["infinity in an array", { prices: [1, -Infinity] }, "/prices/1"],
  ["a boxed NaN", { price: new Number(NaN) }, "/price"],
  ["undefined in an array", { tags: ["a", undefined] }, "/tags/1"],
  ["a hole in an array", { tags: [, 1] }, "/tags/0"],
  ["a function in a field", { title: { text() {} } }, "/title/text"],
  ["a symbol in a field", { title: Symbol("t") }, "/title"],
  ["a large BigInt", { id: 2n ** 53n }, "/id"],
  ["a small BigInt", { id: -(2n ** 53n) }, "/id"],
  ["an invalid date", { at: new Date("never") }, "/at"],
  ["a promise in a field", { title: Promise.resolve("t") }, "/title"],
  ["a set in a field", { "a/b~c": [new Set([1])] }, "/a~1b~0c/0"],
  ["an error in a field", { why: new Error("no") }, "/why"],
  ["what holds itself", ring, "/inner/list/0"],
  ["what is too deep", deep, ""],
  ["half of a surrogate pair", { "a/b": ["cut \ud83d"] }, "/a~1b/0"],
  ["the second half of one", { low: "\ude00x" }, "/low"],
  ["half of one in a name", { a: { "k\ud83d": 1 } }, "/a/k\ud83d"],
  ["half of one behind a pair", { a: "😀\ud83d\\ud83d" }, "/a"],
  ["what toJSON gives", { value: { toJSON: () => NaN } }, "/value"],
];

for (const [what, document, pointer] of REFUSED) {
  test(`${what} is refused, and its place is told`, () => {
    assert.throws(
      () => lineOf(document),
      (error) => {
        assert(error instanceof NotJson, String(error));
        assert.equal(error.name, "NotJson");
        assert.equal(error.pointer, pointer);
        assert.equal(error.document, document);
        return true;
      },
    );
  });
}

/** @type {[string, any, string][]} */
const TAKEN = [
  ["plain values", { a: [1, -0, 1.5e300, true, null, "ü\n\u2028"] }, '{"a":[1,0,1.5e+300,true,null,"ü\\n\u2028"]}'],
  ["dates", { at: new Date(0) }, '{"at":"1970-01-01T00:00:00.000Z"}'],
  [
    "toJSON",
    { value: { toJSON: (/** @type {string} */ name) => ({ name, big: 5n }) } },
    '{"value":{"name":"value","big":5}}',
  ],
  ["toJSON of the document", { toJSON: () => ({ a: 1 }) }, '{"a":1}'],
  ["safe BigInts", { id: 9007199254740991n, ids: [-1n, 2] }, '{"id":9007199254740991,"ids":[-1,2]}'],
  ["fields of undefined, which are left out", { a: 1, b: undefined }, '{"a":1}'],
  ["objects of a class", { price: new Money(5) }, '{"price":{"amount":5}}'],
  ["objects without a prototype", Object.assign(Object.create(null), { a: {} }), '{"a":{}}'],
  ["boxed values", { a: new String("t"), b: new Number(1), c: new Boolean(false) }, '{"a":"t","b":1,"c":false}'],
  [
    "a field named __proto__",
    JSON.parse('{"__proto__":1,"n":{"__proto__":{}}}'),
    '{"__proto__":1,"n":{"__proto__":{}}}',
  ],
  [
    "the same object twice",
    ((/** @type {object} */ same) => ({ a: same, b: same }))({ x: 1 }),
    '{"a":{"x":1},"b":{"x":1}}',
  ],
  [
    "whole pairs, and text that looks like a half",
    { a: "😀", b: "\\ud83d", c: '\\\\ud83d"' },
    '{"a":"😀","b":"\\\\ud83d","c":"\\\\\\\\ud83d\\""}',
  ],
];

for (const [what, document, line] of TAKEN) {
  test(`a document is taken with ${what}`, () => {
    assert.equal(lineOf(document), line);
  });
}

test("a document with a __proto__ and something to convert keeps both", () => {
  assert.equal(
    lineOf(JSON.parse('{"__proto__":1}', (name, value) => (name === "__proto__" ? 1n : value))),
    '{"__proto__":1}',
  );
});

test("a document is not changed by what is converted", () => {
  const document = { ids: [1n], at: new Date(0) };
  lineOf(document);
  assert.equal(document.ids[0], 1n);
  assert(document.at instanceof Date);
});

/** @type {[string, any][]} a text, and what it holds */
const EXACT = [
  ['{"id":9007199254740993}', { id: 9007199254740993n }],
  ["[-9007199254740993, 9007199254740991]", [-9007199254740993n, 9007199254740991]],
  [`[1${"0".repeat(400)}]`, [10n ** 400n]],
  ['{"9007199254740993":"9007199254740993"}', { "9007199254740993": "9007199254740993" }],
  ['{"a\\"1":12345678901234567890}', { 'a"1': 12345678901234567890n }],
  ["[0.12345678901234567890, 12345678901234567890e2]", [0.1234567890123456789, 12345678901234567890e2]],
  ['"12345678901234567890 \\\\"', "12345678901234567890 \\"],
  ["12345678901234567890", 12345678901234567890n],
];

for (const [text, value] of EXACT) {
  test(`integers of ${text.slice(0, 40)} are read exactly`, () => assert.deepEqual(exactlyParsed(text), value));
}

test("a text that is not JSON is refused by exact reading too", () => {
  assert.throws(() => exactlyParsed('{"a": 12345678901234567890'), SyntaxError);
});
