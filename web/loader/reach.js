/** Why a request got no answer: fetch tells a lost network, a redirect loop and CORS by one word. */
import { LIMITS } from './patience.js';
import { Watch } from './waiting.js';

/** Where this code came from answers whenever the network is there. */
const HOME = new URL(import.meta.url);

/**
 * @param {URL} url of the file
 * @param {AbortSignal} [signal]
 * @returns {Promise<'offline' | 'redirected' | 'unreachable'>} redirected: the address itself does
 *   answer, and where it points to leads nowhere
 */
export async function whyUnreachable(url, signal) {
  if (globalThis.navigator?.onLine === false) return 'offline';
  if (!HOME.protocol.startsWith('http')) return 'unreachable';
  // The service worker lets a HEAD pass to the network.
  if (!await ask(HOME, {}, signal)) return 'offline';
  const answer = await ask(url, { redirect: 'manual' }, signal);
  return answer?.type === 'opaqueredirect' ? 'redirected' : 'unreachable';
}

/** @returns {Promise<Response | null>} whatever the server says */
async function ask(url, options, signal) {
  const watch = new Watch(signal, LIMITS.stall);
  try {
    return await watch.next(fetch(url,
      { method: 'HEAD', cache: 'no-store', ...options, signal: watch.signal }));
  } catch {
    return null;
  } finally {
    watch.end();
  }
}

/** @returns {boolean} the file lies on another origin than this code */
export function isForeign(url) {
  return new URL(url).origin !== HOME.origin;
}
