/** Where a task is reached, and the token that proves whose call it is. */

/**
 * Take an endpoint apart: the token goes into a header, and never into a path that a log on the way may keep.
 *
 * @param {string | URL} endpoint `…/actions/tasks/{fid}.{token}`, or without the token.
 * @param {string | undefined} token Goes before one in the endpoint. A key with the scope `write` does as well.
 * @returns {{url: string, fid: string, token: string}} `url` has no token; `/upload` is appended to it.
 * @throws {TypeError} It is no such URL, or there is no token.
 */
export function parted(endpoint, token) {
  const url = httpUrl(endpoint);
  const path = url.pathname.replace(/\/+$/, "");
  const [, before, fid, secret] = /^(.*\/)([^/.]+)(?:\.([^/]*))?$/.exec(path) ?? [];
  if (fid === undefined) throw new TypeError("the endpoint is not that of a task, …/actions/tasks/{fid}.{token}");
  const proof = token || secret;
  if (!proof) throw new TypeError("there is no token: neither in the endpoint, as …/{fid}.{token}, nor beside it");
  bearer(proof);
  return { url: `${url.origin}${before}${fid}`, fid, token: proof };
}

/**
 * Return what a token or a key is sent as.
 *
 * @param {string} secret
 * @throws {TypeError} It is none; found now, it is not taken for a connection that does not come about.
 */
export function bearer(secret) {
  if (!/^[\x21-\x7e]+$/.test(secret)) throw new TypeError("a token or key is one word of ASCII characters");
  return `Bearer ${secret}`;
}

/**
 * @param {string | URL} text
 * @returns {URL}
 * @throws {TypeError} It is none that `fetch` takes.
 */
export function httpUrl(text) {
  // What it was is not told: it may hold a token.
  if (!URL.canParse(String(text))) throw new TypeError("the address is not a URL");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new TypeError("the address is not http or https");
  if (url.username || url.password) throw new TypeError("the address holds a user or a password, which fetch refuses");
  return url;
}
