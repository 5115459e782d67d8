/** The bench's tables, drawn from its results. */
import { SECTION_NAMES, bytes, error, milliseconds, rate, say, share, spread } from './strings.js';

/**
 * @param {HTMLTableElement} table of ops
 * @param {import('./rows.js').TimedRow[]} rows those that failed have no lines
 */
export function drawRows(table, rows) {
  const best = bestRate(rows);
  const bodies = [];
  let section = '';
  for (const row of rows) {
    const body = element('tbody');
    if (row.section !== section) body.append(headingOf(section = row.section));
    const lines = row.failed ? [{ name: '', failed: row.failed }] : row.lines;
    lines.forEach((line, i) => {
      const tr = element('tr', { class: line.kind ?? '' });
      if (i === 0) tr.append(nameOf(row, lines.length));
      tr.append(...cellsOf(line, row, best));
      body.append(tr);
    });
    bodies.push(body);
  }
  replaceBodies(table, bodies);
}

/**
 * @param {HTMLTableElement} table of pictures
 * @param {import('./pipeline.js').TimedPicture[]} pictures
 */
export function drawPictures(table, pictures) {
  replaceBodies(table, pictures.map((picture) => {
    const body = element('tbody');
    const { lines, failed, by } = picture;
    if (failed) {
      body.append(element('tr', {}, element('th', { scope: 'row' }, by),
        element('td', { colspan: 3, class: 'failed' }, failed)));
      return body;
    }
    const heading = `${say.pictures(picture)}; ${say.peak(picture)}`;
    body.append(element('tr', { class: 'group' },
      element('th', { scope: 'rowgroup', colspan: 4 }, heading)));
    for (const { name, timing } of lines) {
      body.append(element('tr', {}, element('th', { scope: 'row' }, name),
        ...[milliseconds(timing.medianMs), spread(timing), timing.samples].map(number)));
    }
    return body;
  }));
}

/** The best rate that any right result on the GPU had, 10^9 operations a second. */
export function bestRate(rows) {
  return Math.max(0, ...rows.flatMap(({ lines = [] }) => lines)
    .filter(({ provider, wrong }) => provider !== 'wasm' && !wrong)
    .map(({ gflops = 0 }) => gflops));
}

function replaceBodies(table, bodies) {
  [...table.tBodies].forEach((body) => body.remove());
  table.append(...bodies);
}

function headingOf(section) {
  return element('tr', { class: 'group' },
    element('th', { scope: 'rowgroup', colspan: 9 }, SECTION_NAMES[section]));
}

/** @param {import('./shapes.js').Row} row @param {number} rowspan */
function nameOf({ label, calls }, rowspan) {
  const cell = element('th', { scope: 'row', rowspan }, label);
  if (calls) cell.append(element('small', {}, say.calls(calls)));
  return cell;
}

function cellsOf(line, row, best) {
  const name = element('td', {}, line.name);
  if (line.failed) return [name, element('td', { colspan: 7, class: 'failed' }, line.failed)];
  const { timing, gflops, provider, wrong } = line;
  const median = number(milliseconds(timing.medianMs));
  if (timing.samples < 10) median.title = say.few(timing.samples);
  return [name, median, number(spread(timing)), number(timing.samples), number(rate(gflops)),
    number(provider === 'wasm' || wrong ? '' : share(gflops / best)), number(bytes(row.bytes)),
    number(wrong ? say.wrong(error(line.error)) : error(line.error))];
}

function number(text) {
  return element('td', { class: 'number' }, String(text));
}

function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== '') made.setAttribute(name, value);
  }
  made.append(...content);
  return made;
}
