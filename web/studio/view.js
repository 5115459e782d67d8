/** State in, document out. Nothing else writes to the document. */

import { announcement, report } from './strings.js';
import { byId, show, write } from './view/document.js';
import { renderForm } from './view/form.js';
import { renderModel } from './view/model.js';
import { renderPaper } from './view/paper.js';

let announced = ''; // the state's own sentence, as it was read out last

export function render(state) {
  document.body.dataset.phase = state.phase;
  renderForm(state);
  renderAlert(state);
  renderPaper(state);
  renderModel(state);
  renderReport(state);
  if (announced !== announcement(state)) announce(announced = announcement(state));
}

/** Has a sentence read out, once: the state's own follows when that changes. */
export function announce(sentence) {
  write('live', sentence);
}

function renderAlert({ error }) {
  write('alert-text', error?.message ?? '');
  write('alert-remedy', error?.remedy ?? '');
  for (const [id, offered] of Object.entries({ reload: error?.reload, 'wait-on': error?.wait,
    'safe-kernels': error?.safe, processor: error?.processor })) show(id, Boolean(offered));
}

/** Long, and read by few: written while it is open. */
function renderReport(state) {
  show('technical', Boolean(state.device));
  if (byId('technical').open) write('report', report(state));
}
