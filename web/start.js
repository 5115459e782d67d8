/**
 * Stands at the top of the site beside its pages. A page that was kept on the way names a folder of
 * code which the host may have no more; then nothing else of the page runs. This takes it anew.
 */
{
  const { code } = document.currentScript.dataset;
  const TRIED = 'trefoil.anew';

  /** Once from each version to each other, so that hosts of two minds do not reload for ever. */
  const takeAnew = async () => {
    const answer = await fetch(location.href, { cache: 'reload' });
    const [now] = /\bcode-[0-9a-f]{16}\b/.exec(await answer.text()) ?? [];
    const step = `${code} ${now}`;
    const tried = sessionStorage.getItem(TRIED)?.split(',') ?? [];
    if (!answer.ok || !now || now === code || tried.includes(step)) return;
    sessionStorage.setItem(TRIED, [...tried, step].join());
    location.reload();
  };

  let failed = false;
  addEventListener('error', ({ target }) => {
    const { src, href } = /** @type {Partial<HTMLScriptElement & HTMLLinkElement>} */ (target);
    const address = src ?? href; // of a script or a style; an error has neither
    if (failed || !address?.includes(`/${code}/`)) return;
    failed = true;
    takeAnew().catch(() => {}); // without a network, or without storage, the page says what to do
  }, true);
}
