/** Taking a picture out of the gallery: links, the clipboard, one file with all of them. */

import { downloadZip } from '../../vendor/client-zip@2.5.1/client-zip.js';
import { fileName } from '../picture.js';

const HUB = 'https://huggingface.co';
const FIELDS = ['prompt', 'seed', 'width', 'height', 'steps'];

/**
 * A link that fills the form with the settings. Inside a Space's frame the Hub's page is the one
 * to share: it hands its query on to the frame. It is also told the query, for its own address.
 * @returns {string}
 */
export function linkTo(settings) {
  const query = new URLSearchParams(FIELDS.map((name) => [name, settings[name]])).toString();
  if (!inSpace()) return `${location.origin}${location.pathname}?${query}`;
  window.parent.postMessage({ queryString: query }, HUB);
  return `${spacePage() ?? `${location.origin}${location.pathname}`}?${query}`;
}

/** Inside a page of the Hub? */
function inSpace() {
  if (window.parent === window) return false;
  return location.ancestorOrigins?.[0] === HUB || originOf(document.referrer) === HUB;
}

function originOf(address) {
  try {
    return new URL(address).origin;
  } catch {
    return '';
  }
}

/**
 * The Hub's page of this Space. The frame's host is OWNER-NAME.static.hf.space, which tells them
 * apart when it has one hyphen; else only a referrer with a path does.
 * @returns {string | null} null: it cannot be told
 */
function spacePage() {
  const referrer = originOf(document.referrer) === HUB ? new URL(document.referrer).pathname : '';
  const [page] = /^\/spaces\/[^/]+\/[^/]+/.exec(referrer) ?? [];
  if (page) return HUB + page;
  const [, owner, name] = /^([^-.]+)-([^-.]+)(?:\.static)?\.hf\.space$/.exec(location.host) ?? [];
  return owner ? `${HUB}/spaces/${owner}/${name}` : null;
}

/** @returns {Promise<boolean>} false: this browser or the page around does not allow it */
export function copyText(text) {
  return allowed(() => navigator.clipboard.writeText(text));
}

/** Safari wants the item while the press is handled, so it takes the promise of the picture. */
export function copyImage(picture) {
  return allowed(() => navigator.clipboard.write([new ClipboardItem({ 'image/png': picture })]));
}

export function canCopyImages() {
  return Boolean(navigator.clipboard?.write && globalThis.ClipboardItem);
}

async function allowed(copy) {
  try {
    await copy();
    return true;
  } catch {
    return false;
  }
}

/**
 * Packs pictures into one file, stored as they are: a PNG does not become smaller.
 * @param {import('./store.js').Entry[]} entries
 * @param {(id: string) => Promise<Blob>} file
 * @returns {Promise<{ zip?: Blob, lost: number }>} lost: how many could not be read
 */
export async function packAll(entries, file) {
  const taken = new Set();
  let lost = 0;
  async function* files() {
    for (const { id, settings, createdAt } of entries) {
      const input = await file(id).catch(() => null);
      if (!input) lost += 1;
      else yield { name: unique(fileName(settings), taken), lastModified: createdAt, input };
    }
  }
  return { zip: await downloadZip(files()).blob(), lost };
}

/** "name.png", then "name (2).png"; some file systems do not tell a from A. */
function unique(name, taken) {
  const [stem, extension] = name.split(/(?=\.png$)/);
  let free = name;
  for (let i = 2; taken.has(free.toLowerCase()); i++) free = `${stem} (${i})${extension}`;
  taken.add(free.toLowerCase());
  return free;
}
