/**
 * Keeps the shell (pages, scripts, kernels, the model's manifest and tokenizer) so that the site
 * opens without a network. Weights and other origins never pass through here.
 *
 * shell.js, written with the site, lists the shell; a browser that finds it changed installs this
 * worker anew. A shell is used whole: its files come from one cache under the version of its list,
 * and a new one takes over when a page is opened and no other is open.
 */

importScripts('./shell.js');

const { version, files } = self.SHELL;
const SCOPE = self.registration.scope;
const OURS = `trefoil ${SCOPE} `; // other sites of the same origin have caches of their own
const CACHE = OURS + version;
/** Where the site is being built, the newest file counts; elsewhere one version throughout. */
const BUILDING = ['localhost', '127.0.0.1', '[::1]'].includes(self.location.hostname);
const TAKE_OVER = 'take over';
const BLANK = '<!doctype html><link rel="icon" href="data:,">'; // asks for no favicon.ico

/** What the browser asks for, as the list has it; undefined: none of ours. */
function fileOf({ method, url }) {
  if (method !== 'GET' || !url.startsWith(SCOPE)) return undefined;
  const { pathname } = new URL(url);
  const name = decodeURI(pathname.slice(new URL(SCOPE).pathname.length)) || 'index.html';
  return Object.hasOwn(files, name) ? name : undefined;
}

/** One file of the shell, whose bytes must be the list's: a site may be replaced meanwhile. */
async function keep(cache, name) {
  const address = new URL(name === 'index.html' ? './' : name, SCOPE);
  const response = await fetch(address, { cache: 'no-cache', integrity: files[name] });
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  // A redirected answer may not open a page; some hosts redirect x.html to x.
  const whole = response.redirected ? new Response(response.body, response) : response;
  await cache.put(new URL(name, SCOPE), whole);
}

async function install() {
  const cache = await caches.open(CACHE);
  const waiting = Object.keys(files);
  const worker = async () => {
    for (let name = waiting.shift(); name; name = waiting.shift()) await keep(cache, name);
  };
  await Promise.all(Array.from({ length: 6 }, worker));
}

async function removeOld() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(OURS) && name !== CACHE)
    .map((name) => caches.delete(name)));
}

/** From this version's cache; from the network where the browser has dropped it. */
async function answer({ request, resultingClientId }, name) {
  if (request.mode === 'navigate' && await givesWay(resultingClientId)) {
    return new Response(BLANK, { headers: { 'Content-Type': 'text/html', Refresh: '0' } });
  }
  const kept = async () => (await caches.open(CACHE)).match(new URL(name, SCOPE));
  if (BUILDING) return fetch(request).catch(async (error) => await kept() ?? Promise.reject(error));
  return await kept() ?? fetch(request);
}

let blank; // the id of the last blank page

/**
 * Lets a newer worker take over when no page but the one being opened is left. A single other page
 * may be the one that is being replaced: a blank page in its place, which asks once more, tells.
 * @returns {Promise<boolean>} whether the page that is being opened is to be blank
 */
async function givesWay(opened) {
  const { waiting } = self.registration;
  if (!waiting) return false;
  const pages = await self.clients.matchAll();
  const others = pages.filter(({ id }) => id !== blank);
  const asked = others.length < pages.length;
  if (others.length > 1 || others.length && asked) return false;
  if (!others.length) waiting.postMessage(TAKE_OVER);
  blank = opened;
  return true;
}

self.addEventListener('install', (event) => event.waitUntil(install()));
self.addEventListener('activate', (event) => event.waitUntil(removeOld()));
self.addEventListener('message', ({ data }) => data === TAKE_OVER && self.skipWaiting());
self.addEventListener('fetch', (event) => {
  const name = fileOf(event.request);
  if (name) event.respondWith(answer(event, name));
});
