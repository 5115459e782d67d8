/**
 * Keeps the site without its weights, so that it opens without a network. `self.SHELL`, the list of
 * its files, stands at the top of this file once the site is written: one file, of one version.
 *
 * Scripts, styles and kernels lie in a folder that is named by its content, so what is kept under
 * such a name is always right. Everything else, the pages first, is asked of the host, and what is
 * kept answers where the host does not. A page names its own folder of code: it runs on one version,
 * whichever worker serves it. So a new worker need not hurry: it waits until no page is open, as
 * browsers do of themselves. (One that takes over at once ends the last one, and in Chromium a page
 * that this one was just opening then never comes.)
 */

/**
 * @typedef {ServiceWorkerGlobalScope & { SHELL: { version: string, code: string,
 *   files: Record<string, string> } }} ShellWorker
 */
const worker = /** @type {ShellWorker} */ (/** @type {unknown} */ (self));
const { version, code, files } = worker.SHELL;
const SCOPE = worker.registration.scope;
const OURS = `trefoil ${SCOPE} `; // other sites of the same origin have caches of their own
const CACHE = OURS + version;
const IN_CODE = /^code-[0-9a-f]{16}\//;
/** Of any version it does what it is for, and the page waits for it. */
const START = 'start.js';
/** What is kept last: a version that has it is whole. */
const LAST = 'index.html';
/** Weights never pass through here. Pages that an earlier version opened may ask for more names. */
const KINDS = /\.(html|m?js|css|wgsl|json|svg|png|webmanifest)$/;
/** Where a host accepts a connection and says nothing, what is kept answers after this long. */
const PATIENCE_MS = 5000;
/** Where the site is being built, the newest file counts, however long it takes. */
const BUILDING = ['localhost', '127.0.0.1', '[::1]'].includes(self.location.hostname);
const GONE = [404, 410];

/** A file's name below the scope, as the list has it; undefined: another's. */
function nameOf({ method, url }) {
  if (method !== 'GET' || !url.startsWith(SCOPE)) return undefined;
  const name = new URL(url).pathname.slice(new URL(SCOPE).pathname.length) || 'index.html';
  return Object.hasOwn(files, `${name}.html`) ? `${name}.html` : name; // some hosts cut it off
}

const addressOf = (name) => new URL(name, SCOPE);

/** Names of the caches of this site's versions, the newest first. */
async function versions() {
  return (await caches.keys()).filter((each) => each.startsWith(OURS)).reverse();
}

/** What the newest version that is wholly kept has under a name, else an earlier one's. */
async function kept(name) {
  for (const cacheName of await versions()) {
    const whole = await caches.match(addressOf(LAST), { cacheName });
    const response = whole && await caches.match(addressOf(name), { cacheName });
    if (response) return response;
  }
  return undefined;
}

/** From the host; what is kept where it has no such file, does not answer, or is broken. */
async function ask(request, name) {
  const asked = fetch(request);
  const answers = [asked.catch(() => undefined)];
  if (!BUILDING) answers.push(sleep(PATIENCE_MS));
  const answer = await Promise.race(answers);
  if (answer && answer.status < 500 && !GONE.includes(answer.status)) return answer;
  return await kept(name) ?? asked;
}

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

async function install() {
  const earlier = worker.registration.active && !await kept(START);
  // That one puts blank pages before the visitor while this waits.
  if (earlier) worker.skipWaiting();
  await caches.delete(CACHE); // a site may go back to a version: then that is the newest again
  const cache = await caches.open(CACHE);
  const waiting = Object.keys(files).filter((name) => name !== LAST);
  const keepWaiting = async () => {
    for (let name = waiting.shift(); name; name = waiting.shift()) await keep(cache, name);
  };
  try {
    await Promise.all(Array.from({ length: 6 }, keepWaiting));
    await keep(cache, LAST);
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
  await removeBetween();
}

/** One file of the list, whose bytes must be the list's: a site may be replaced meanwhile. */
async function keep(cache, name) {
  const inCode = IN_CODE.test(name);
  const response = inCode && await kept(name) || await fetchListed(name, inCode);
  await cache.put(addressOf(name), response);
}

async function fetchListed(name, inCode) {
  const address = addressOf(name === 'index.html' ? './' : name);
  /** @type {RequestInit} */
  const options = { cache: inCode ? 'default' : 'no-cache', integrity: files[name] };
  const response = await fetch(address, options);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  // Hosts write into pages (a Space its variables), which have no hash: the folder they name tells.
  if (name.endsWith('.html') && !(await response.clone().text()).includes(`${code}/`)) {
    throw new Error(`${address}: of another version`);
  }
  // A redirected answer may not open a page; some hosts redirect x.html to x.
  return response.redirected ? new Response(response.body, response) : response;
}

/**
 * While pages are open: of many versions the newest two stay, and the one that is active, which is
 * the oldest or, after the kind that is superseded above, the second.
 */
async function removeBetween() {
  await Promise.all((await versions()).slice(2, -2).map((each) => caches.delete(each)));
}

/** This version's and the last one's stay: a page may have been opened that runs on it. */
async function removeOld() {
  await Promise.all((await versions()).slice(2).map((each) => caches.delete(each)));
}

worker.addEventListener('install', (event) => event.waitUntil(install()));
worker.addEventListener('activate', (event) => event.waitUntil(removeOld()));
worker.addEventListener('fetch', (event) => {
  const name = nameOf(event.request);
  if (name === undefined || !KINDS.test(name)) return;
  const { request } = event;
  const keptFirst = IN_CODE.test(name) || name === START;
  event.respondWith(keptFirst ? kept(name).then((response) => response ?? fetch(request))
    : ask(request, name));
});
