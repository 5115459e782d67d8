/** What this browser lets the page keep. Any call may be refused: in frames, in private windows. */

/**
 * @returns {Promise<{ refused: boolean, usage: number | null, persisted: boolean }>} usage: bytes
 *   that the whole site has stored. (`quota` is a constant for privacy, not free space.)
 */
export async function inspectStorage() {
  try {
    await navigator.storage.getDirectory().catch(() => caches.keys()); // either can keep a model
    const { usage = null } = await navigator.storage.estimate();
    return { refused: false, usage, persisted: await navigator.storage.persisted() };
  } catch {
    return { refused: true, usage: null, persisted: false };
  }
}

/** Asks the browser not to clear what is stored; some ask the visitor. */
export async function persistStorage() {
  try {
    return await navigator.storage.persist();
  } catch {
    return false;
  }
}
