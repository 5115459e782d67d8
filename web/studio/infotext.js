/**
 * The infotext of AUTOMATIC1111's web UI, which other studios write and read as well:
 *
 *   the prompt's lines
 *   Negative prompt: its lines
 *   Steps: 4, Sampler: Euler, Seed: 7, Size: 512x512, Model: "a, b", ...
 *
 * On their way such texts lose line breaks, get them as two characters, or get further lines; what
 * extensions add at the end may hold anything. So the settings begin at "Steps: <number>" and go on
 * to the end, and the first value of a key counts: studios write their own keys first.
 */

const STEPS = /(^|\n|\\n|[\s,.;])steps:[^\S\n]*\d+[^\S\n]*(?=,|\n|\\n|$)/gi;
const NEGATIVE = /(^|\n|\\n|[\s,.;])negative prompt:/gi;
const KEY = /[a-z][\w ./-]{0,60}:[^\S\n]*/iy;
const SIZE = /^(\d+)\s*[x×*]\s*(\d+)$/i;
/** Where no steps are told, a last line that begins with one of these holds the settings. */
const OTHER_START = /(^|\n)(?:seed|size|sampler|cfg scale):[^\n]*,[^\n]*$/i;

/**
 * @param {{ prompt: string, pairs: Record<string, string | number> }} settings
 * @returns {string}
 */
export function writeInfotext({ prompt, pairs }) {
  const line = Object.entries(pairs).map(([key, value]) => `${key}: ${quoted(String(value))}`);
  return `${prompt}\n${line.join(', ')}`;
}

const quoted = (value) => (/[,:\n]/.test(value) ? JSON.stringify(value) : value);

/**
 * @param {string} text
 * @returns {{ prompt: string, negative: boolean, seed?: string, steps?: string, size?: string,
 *   width?: string, height?: string } | null} as written, unchecked; null: no settings in it
 */
export function parseInfotext(text) {
  const whole = text.replace(/\r\n?/g, '\n').trim();
  const start = startOf(whole);
  if (start < 0) return null;
  const { seed, steps, size } = Object.fromEntries(pairsOf(whole, start).reverse()
    .map(({ key, value }) => [key.toLowerCase(), value])); // reversed: the first one wins
  const [, width, height] = SIZE.exec(size) ?? [];
  const before = whole.slice(0, start);
  const negative = positions(before, NEGATIVE)[0] ?? -1;
  const prompt = tidy(negative < 0 ? before : before.slice(0, negative), !whole.includes('\n'));
  return { prompt, negative: negative >= 0, seed, steps, size, width, height };
}

/**
 * Where the settings begin: the last line that begins with steps, but none inside a quoted value; in
 * a text without such a line the first place. -1: nowhere.
 */
function startOf(text) {
  const places = positions(text, STEPS);
  if (!places.length) {
    const other = OTHER_START.exec(text);
    return other ? other.index + other[1].length : -1;
  }
  const lines = places.filter((at) => at === 0 || /\n|\\n/.test(text.slice(at - 2, at)));
  if (!lines.length) return places[0];
  const quotes = pairsOf(text, lines[0]).filter(({ quotes }) => quotes);
  return lines.findLast((at) => !quotes.some(({ from, to }) => from < at && at < to));
}

/** Where the pattern's words begin, behind what joins them to the text before. */
function positions(text, pattern) {
  return [...text.matchAll(pattern)].map(({ index, 1: joint }) => index + joint.length);
}

/** What joins prompt and settings belongs to neither; `literal`: a line's end is written \\n. */
function tidy(prompt, literal) {
  const lines = literal ? prompt.replaceAll('\\n', '\n') : prompt;
  return lines.trim().replace(/,$/, '');
}

/** @returns {{ key: string, value: string, from: number, to: number, quotes: boolean }[]} */
function pairsOf(text, start) {
  const pairs = [];
  const open = { '"': true, '[': true }; // false once one did not close: no later one can
  for (let at = start; at < text.length;) {
    KEY.lastIndex = at;
    const [found] = KEY.exec(text) ?? [];
    if (found) {
      const from = at + found.length;
      const to = endOfValue(text, from, open);
      const value = text.slice(from, to);
      pairs.push({ key: found.slice(0, found.indexOf(':')), value: unquoted(value), from, to,
        quotes: value.startsWith('"') });
      at = to;
    } else {
      at = endOfPlain(text, at);
    }
    while (/[\s,]/.test(text[at] ?? '')) at++;
    while (text.startsWith('\\n', at)) at += 2;
  }
  return pairs;
}

/** A value ends at a comma or a line's end; in quotes and brackets these do not count. */
function endOfValue(text, from, open) {
  const kind = { '"': '"', '[': '[', '{': '[' }[text[from]];
  if (open[kind]) {
    const end = kind === '"' ? endOfQuotes(text, from) : endOfBrackets(text, from);
    if (end > 0) return end;
    open[kind] = false;
  }
  return endOfPlain(text, from);
}

function endOfPlain(text, from) {
  const rest = /,|\n|\\n/g;
  rest.lastIndex = from;
  return rest.exec(text)?.index ?? text.length;
}

/** The next quote that a comma or an end follows: those inside are not always escaped. */
function endOfQuotes(text, from) {
  const closing = /(?<!\\)(?:\\\\)*"(?=[^\S\n]*(?:,|\n|$))/g;
  closing.lastIndex = from + 1;
  const found = closing.exec(text);
  return found ? found.index + found[0].length : -1;
}

/** JSON without quotes around it. */
function endOfBrackets(text, from) {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const letter = text[at];
    if (letter === '"') at = endOfString(text, at);
    else if ('[{'.includes(letter)) depth++;
    else if (']}'.includes(letter) && --depth === 0) return at + 1;
  }
  return -1;
}

function endOfString(text, from) {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

function unquoted(value) {
  try {
    return value.startsWith('"') ? JSON.parse(value.replace(/\n/g, '\\n')) : value.trim();
  } catch {
    return value;
  }
}
