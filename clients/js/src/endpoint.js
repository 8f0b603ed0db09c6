/** Parsing of a task's endpoint and token. */

/**
 * Split an endpoint into its URL and its token. The token is sent in a header, because paths are logged.
 *
 * @param {string | URL} endpoint `…/actions/tasks/{fid}.{token}`, or without the token.
 * @param {string | undefined} token Takes precedence over the one in the endpoint; may be an API key with the
 *   scope `write`.
 * @returns {{url: string, fid: string, token: string}} `url` has no token; `/upload` is appended to it.
 * @throws {TypeError} The URL is invalid, or there is no token.
 */
export function parted(endpoint, token) {
  const url = httpUrl(endpoint);
  const path = url.pathname.replace(/\/+$/, "");
  const [, before, fid, secret] = /^(.*\/actions\/tasks\/)([\w-]+)(?:\.([^/]*))?$/.exec(path) ?? [];
  if (fid === undefined) throw new TypeError("the endpoint is not that of a task, …/actions/tasks/{fid}.{token}");
  const proof = token || secret;
  if (!proof) throw new TypeError("there is no token: neither in the endpoint, as …/{fid}.{token}, nor beside it");
  bearer(proof);
  return { url: `${url.origin}${before}${fid}`, fid, token: proof };
}

/**
 * Return the `Authorization` header for a token or key.
 *
 * @param {string} secret
 * @throws {TypeError} It is malformed. Checked here, because `fetch` would report it as a failed connection.
 */
export function bearer(secret) {
  if (!/^[\x21-\x7e]+$/.test(secret)) throw new TypeError("a token or key is one word of ASCII characters");
  return `Bearer ${secret}`;
}

/**
 * @param {string | URL} text
 * @returns {URL}
 * @throws {TypeError} It is not a URL that `fetch` accepts.
 */
export function httpUrl(text) {
  // The URL is left out of the message: it may contain a token.
  if (!URL.canParse(String(text))) throw new TypeError("the address is not a URL");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new TypeError("the address is not http or https");
  if (url.username || url.password) throw new TypeError("the address holds a user or a password, which fetch refuses");
  return url;
}
