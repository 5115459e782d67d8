/**
 * A script of the old kind, which runs where modules do not: it says why the studio did not start,
 * and what to do.
 */
addEventListener('load', () => {
  if (document.body.dataset.phase) return; // it did
  const hint = document.getElementById('hint');
  if (location.protocol === 'file:') {
    hint.textContent = 'This page was opened from the disk, and browsers run its scripts only when '
      + 'they come from a web server. In the folder that it lies in, run python3 -m http.server, '
      + 'and open http://localhost:8000.';
  } else if (self.origin === 'null') {
    hint.textContent = 'The page around this frame shuts it off (a sandbox without '
      + 'allow-same-origin), so the studio cannot start here. Open it in its own tab.';
    const link = /** @type {HTMLAnchorElement} */ (document.getElementById('alone'));
    link.href = location.href;
    link.hidden = false;
  }
});
